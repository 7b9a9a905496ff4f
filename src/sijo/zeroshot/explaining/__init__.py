"""Why a text got its label: which of its words carried the decision."""
