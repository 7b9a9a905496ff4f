"""An output in parts: each there once or not yet, whatever happens between, and nothing else beside it.

What adds columns is a rule of one line here; models come in `tests/app/test_many_machines.py`.
"""

import json
from collections import Counter
from itertools import count

import pyarrow as pa
import pytest

from conftest import tree
from sijo.errors import SettingError, TextError
from sijo.files.parts.folder import MANIFEST, PartsFolder
from sijo.files.parts.plan import Fault, FileAsked, PartMaker

pytest.importorskip("fsspec")
numbers = count()


def added(block):
    """The length of each text."""
    lengths = pa.table({"length": pa.array(map(len, block.texts), pa.int64())})
    return lengths, Counter(rows=len(block.texts))


def maker(format="jsonl", rows=3, part_rows=5, **how):
    return PartMaker(lambda: added, how=how, rows=rows, part_rows=part_rows, format=format, layout={})


def folder_of(place, files, format="jsonl", **options):
    options = {"settings": {"labels": "a"}, "resume": False, "overwrite": False} | options
    return PartsFolder(str(place), [str(file) for file in files], format=format, **options)


def run(place, files, format="jsonl", make=None, **options):
    """Make all that is missing; gives the faults."""
    make, faults = make or maker(format), []
    with folder_of(place, files, format, **options) as folder:
        if folder.finished:
            return "finished"
        for asked in [*folder.to_plan()]:
            made = make(asked)
            faults.append(made) if isinstance(made, Fault) else folder.planned(asked, made)
        for asked in [*folder.to_make()]:
            made = make(asked)
            faults.append(made) if isinstance(made, Fault) else folder.write(asked, made)
        if not faults:
            folder.finish()
    return faults


@pytest.fixture
def files(tmp_path):
    """Two inputs of 17 and 4 rows."""
    texts = ["바다 " * (n % 4) + f"row {n}" for n in range(21)]
    for name, some in (("a.jsonl", texts[:17]), ("b.jsonl", texts[17:])):
        rows = "".join(
            json.dumps({"text": text, "id": n}, ensure_ascii=False) + "\n" for n, text in enumerate(some)
        )
        (tmp_path / name).write_text(rows)
    return [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]


@pytest.fixture
def elsewhere():
    """The URL of a folder that lives in this process alone, and what is in it by name."""
    import fsspec

    system, place = fsspec.filesystem("memory"), f"/bucket{next(numbers)}"
    return f"memory:/{place}", lambda: {
        path.removeprefix(f"{place}/"): system.cat_file(path) for path in system.find(place)
    }


def test_parts_behind_each_other_are_one_output_of_their_input(files, tmp_path):
    # kills: a row lost, doubled or moved at a border; a part that ends within a block; a last part left out
    assert run(tmp_path / "out", files) == []
    out = tmp_path / "out"
    names = [f"part-00000-0000{n}.jsonl" for n in range(3)] + ["part-00001-00000.jsonl"]
    assert sorted(path.name for path in out.iterdir()) == [MANIFEST, *names]
    for place, file in enumerate(files):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        parts = sorted(out.glob(f"part-0000{place}-*"))
        got = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
        assert got == [row | {"length": len(row["text"])} for row in rows]
    manifest = json.loads((out / MANIFEST).read_text())
    assert [(part["file"], part["first_row"], part["rows"]) for part in manifest["parts"]] == [
        (names[0], 0, 6),
        (names[1], 6, 6),
        (names[2], 12, 5),
        (names[3], 0, 4),
    ]
    assert manifest["rows"] == 21 and manifest["settings"]["inputs"] == [str(file) for file in files]


def test_a_run_that_ends_anywhere_goes_on_to_the_same_bytes(files, tmp_path, monkeypatch):
    # kills: a record before its part, a part that is made and not taken, litter that counts, a manifest too early
    assert run(tmp_path / "whole", files) == []
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    for after in range(9):
        out, left = tmp_path / f"cut{after}", [after]
        from sijo.files.parts import place

        real = place.LocalPlace.write

        def write(self, name, content, real=real, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            real(self, name, content)

        with monkeypatch.context() as patch:
            patch.setattr(place.LocalPlace, "write", write)
            with pytest.raises(KeyboardInterrupt):
                run(out, files)
        assert not (out / MANIFEST).exists()
        made = []

        def counted(asked, make=None, made=made):
            make = made.append(asked) or maker()
            return make(asked)

        assert run(out, files, make=counted, resume=True) == []
        assert {path.name: path.read_bytes() for path in out.iterdir()} == whole, after
        if after == 8:  # settings, two plans, and five of eight writes of parts and records
            assert len(made) == 2


def test_two_that_made_the_same_part_are_heard_once(files, tmp_path):
    # kills: a part that is written again, and counted twice, when a lost worker's answer comes after all
    make = maker()
    with folder_of(tmp_path / "out", files) as folder:
        for asked in [*folder.to_plan()]:
            folder.planned(asked, make(asked))
        first, *_ = folder.to_make()
        folder.write(first, made := make(first))
        other = type(made)(b"{}\n", "0" * 64, made.counts)
        folder.write(first, other)
        assert folder.kept == 6
    assert (tmp_path / "out" / "part-00000-00000.jsonl").read_bytes() == made.content


def test_a_damaged_input_is_named_and_the_others_are_made(files, tmp_path):
    # kills: a run that ends at the first damage, parts of what is damaged, a manifest of half the inputs
    good = files[0].read_bytes()
    files[0].write_bytes(good[:-9])
    (fault,) = run(tmp_path / "out", files)
    assert fault.exit_code == 3 and str(files[0]) in fault.sentence
    out = tmp_path / "out"
    assert [path.name for path in sorted(out.glob("*.json*"))] == ["part-00001-00000.jsonl"]
    files[0].write_bytes(good)
    assert run(out, files, resume=True) == []
    assert run(tmp_path / "whole", files) == [] and tree_of(out) == tree_of(tmp_path / "whole")


def tree_of(folder):
    return {path.relative_to(folder): content for path, content in tree(folder).items()}


def test_what_was_damaged_or_taken_away_is_made_again_alone(files, tmp_path):
    # kills: "complete already" over a part that is gone, cut short or of other bytes of the same length
    run(tmp_path / "out", files)
    whole, out = tree_of(tmp_path / "out"), tmp_path / "out"
    assert run(out, files, resume=True) == "finished"
    (out / "part-00000-00001.jsonl").unlink()
    content = bytearray((out / "part-00000-00002.jsonl").read_bytes())
    content[9] ^= 1
    (out / "part-00000-00002.jsonl").write_bytes(content)
    make, asked = maker(), []
    assert run(out, files, resume=True, make=lambda one: (asked.append(one), make(one))[1]) == []
    assert [(one.place, one.number) for one in asked] == [(0, 1), (0, 2)] and tree_of(out) == whole


def test_another_input_or_setting_is_refused(files, tmp_path):
    # kills: parts of two inputs, or of two sets of labels, beside each other; a stranger's files overwritten
    run(tmp_path / "out", files)
    out, before = tmp_path / "out", tree_of(tmp_path / "out")
    for words, options in (
        ("labels", {"settings": {"labels": "b"}, "resume": True}),
        ("--resume goes on", {}),
        ("pass one", {"resume": True, "overwrite": True}),
    ):
        with pytest.raises(SettingError, match=words):
            run(out, files, **options)
    with pytest.raises(SettingError, match="inputs"):
        run(out, files[:1], resume=True)
    files[1].write_text(files[1].read_text().replace("row", "Row"))
    with pytest.raises(TextError, match=r"b\.jsonl has changed"):
        run(out, files, resume=True)
    assert tree_of(out) == before
    assert run(out, files, overwrite=True) == [] and "Row" in (out / "part-00001-00000.jsonl").read_text()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(SettingError, match=r"other things, such as 'notes\.txt'"):
        run(out, files, overwrite=True)
    with folder_of(tmp_path / "held", files), pytest.raises(SettingError, match="another process is at work"):
        folder_of(tmp_path / "held", files, overwrite=True)


def test_an_input_that_changes_under_way_is_a_fault(files, tmp_path):
    # kills: a part of another content than was planned, from rows that moved
    make = maker()
    with folder_of(tmp_path / "out", files) as folder:
        for asked in [*folder.to_plan()]:
            folder.planned(asked, make(asked))
        files[0].write_text(files[0].read_text() + '{"text": "one more"}\n')
        fault = make(next(folder.to_make()))
    assert isinstance(fault, Fault) and "has changed" in fault.sentence


def test_tables_of_json_records_have_the_columns_of_all_inputs(tmp_path):
    # kills: parts of which each has the columns of its own rows, and no reader puts together
    from pyarrow import dataset

    rows = [{"text": "a", "n": 1}] * 7 + [{"text": "b", "n": 0.5, "새": "x"}] * 2
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:4]))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[4:]))
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    assert run(tmp_path / "out", files, "parquet") == []
    parts = sorted((tmp_path / "out").glob("part-*"))
    assert len({str(dataset.dataset(part).schema) for part in parts}) == 1
    table = dataset.dataset(tmp_path / "out", format="parquet").to_table()  # passes over what begins with _
    assert table.num_rows == 9 and table["n"].to_pylist()[-1] == 0.5 and table.column_names[-1] == "length"


def test_a_worker_reads_on_from_part_to_part(files, monkeypatch):
    # kills: an input that is opened and read from its start for each of its parts
    from sijo.files.parts import plan

    opened, real = [], plan.OpenInput.__init__

    def init(self, *about):
        opened.append(about)
        real(self, *about)

    monkeypatch.setattr(plan.OpenInput, "__init__", init)
    make = maker()
    found = make(FileAsked(0, str(files[0])))
    parts = [
        plan.PartAsked(0, str(files[0]), number, 2 * number, blocks, found.digest, None)
        for number, blocks in enumerate(found.blocks)
    ]
    contents = [make(part).content for part in parts]
    assert len(opened) == 1 and len(parts) == 3
    assert [make(part).content for part in parts[::-1]] == contents[::-1] and len(opened) == 4


def test_a_folder_elsewhere_holds_the_same(files, tmp_path, elsewhere):
    # kills: a store that is treated as a disk, parts or records under other names there, a resume that forgets
    import fsspec

    url, there = elsewhere
    system = fsspec.filesystem("memory")
    for file in files:
        system.pipe_file(f"/inputs/{file.name}", file.read_bytes())
    inputs = [f"memory://inputs/{file.name}" for file in files]
    assert run(url, inputs) == []
    run(tmp_path / "out", files)
    parts = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("part-*")}
    assert {name: content for name, content in there().items() if name != MANIFEST} == parts
    assert run(url, inputs, resume=True) == "finished"
    system.rm_file(f"{url.removeprefix('memory:/')}/part-00000-00001.jsonl")
    assert run(url, inputs, resume=True) == [] and there().keys() == {*parts, MANIFEST}
