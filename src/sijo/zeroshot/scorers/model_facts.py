"""What decides which scorers suit a model, read from its folder without building its network."""

from functools import cached_property
from pathlib import Path

from sijo.checkpoints.load import Model, config_fields, head_names
from sijo.checkpoints.sentence import sentence_settings
from sijo.models import FAMILIES


class ModelFacts:
    """The heads of a model and what their columns say, each read when it is first asked for.

    model  a folder, or an opened model

    >>> from sijo.checkpoints.locate import built_in
    >>> facts = ModelFacts(built_in())
    >>> facts.columns, facts.says_entailment, facts.gives_sentence_vectors
    (('LABEL_0', 'LABEL_1'), False, True)
    """

    def __init__(self, model: Path | Model) -> None:
        self.model = model
        self.source = model.source if isinstance(model, Model) else model
        self.opened_heads = frozenset(model.head_values) if isinstance(model, Model) else frozenset()

    @cached_property
    def heads(self) -> frozenset[str]:
        """The heads that the model was opened with, and those its folder holds."""
        held = self.model.heads if isinstance(self.model, Model) else head_names(self.model)
        return self.opened_heads.union(held)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of its classification head."""
        if isinstance(self.model, Model):
            return self.model.labels
        fields = config_fields(self.model)
        labels: tuple[str, ...] = FAMILIES[str(fields["model_type"])].config.read(fields).labels
        return labels

    @property
    def says_entailment(self) -> bool:
        """Whether one of those columns is called entailment."""
        return any("entail" in column.casefold() for column in self.columns)

    @property
    def gives_sentence_vectors(self) -> bool:
        """Whether it was trained as a sentence encoder."""
        model = self.model
        return (model.sentence if isinstance(model, Model) else sentence_settings(model)).trained
