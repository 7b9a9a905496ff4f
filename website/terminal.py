"""`make pictures`: what a terminal shows, as a picture; the commands are run, and nothing is drawn by hand."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from html import unescape
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parents[1]
COLUMNS, ROWS = 100, 60
CELL = 12.2  # the width of a cell in the picture: rich's letters are 20 high, times 0.61
SHOWN = {
    "terminal.svg": (
        "sijo classify examples/tickets.csv --labels-file examples/teams.csv",
        "sijo evaluate --data examples/requests.csv --label-column domain --labels-file examples/domains.csv",
    ),
    "terminal.ko.svg": (
        "sijo classify examples/news.ko.csv --labels-file examples/topics.ko.csv",
        "sijo evaluate --data examples/requests.ko.csv --label-column domain --labels-file examples/domains.ko.csv",
    ),
}
# rich's own frame fetches a font from another server; the reader's fonts do as well
FRAME = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def ran(command: str) -> str:
    """What a command prints to a terminal of `COLUMNS`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    process = subprocess.Popen(
        command, shell=True, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux tells the end of a terminal so
            break
        if not piece:
            break
        pieces.append(piece)
    if process.wait() != 0:
        raise SystemExit(f"{command} failed:\n{b''.join(pieces).decode()}")
    return b"".join(pieces).decode()


def as_shown(printed: str) -> str:
    """The lines as they stand at the end: what was erased or written over, as bars of progress are, is gone."""
    lines, row, overwritten = [""], 0, -1
    for piece in re.split(r"(\r|\n|\x1b\[[0-9;?]*[A-Zhl])", printed):
        if piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\r" or piece.endswith("K"):
            overwritten = row
        elif piece.endswith("A") and piece.startswith("\x1b"):
            row -= int(piece[2:-1] or 1)
        elif piece and not piece.startswith("\x1b[?"):
            lines[row] = piece if overwritten == row else lines[row] + piece
            overwritten = -1
    return "\n".join(lines)


def widened(text: re.Match[str]) -> str:
    """A piece of the picture as wide as its cells are: rich counts letters, and one of Hangul takes two cells."""
    return f'textLength="{cell_len(unescape(text[2])) * CELL:.1f}"{text[1]}{text[2]}'


def main() -> None:
    """Draw all of them."""
    for name, commands in SHOWN.items():
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        for command in commands:
            console.print(Text(f"$ {command}", style="bold"))
            shown = Text.from_ansi(as_shown(ran(command)))
            # runs of Hangul stand alone, so that a font whose letters are not two cells wide moves no column
            shown.highlight_regex(r"[ㄱ-ㆎ가-힣]+", style=Style(meta={"script": "Hangul"}, color="#c5c8c7"))
            console.print(shown)
        picture = console.export_svg(title="sijo", unique_id="sijo", code_format=FRAME)
        picture = re.sub(r'textLength="[\d.]+"([^>]*>)([^<]*)', widened, picture)
        (ROOT / "docs" / name).write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n")
        print(f"docs/{name}: {len(picture):,} bytes")


if __name__ == "__main__":
    main()
