"""Texts on which an exported file is compared with its original where the user gives none."""


def default_texts() -> list[str]:
    """Texts of one to some hundred words."""
    return [
        f"The town council met on Monday to talk about the price of bread number {i}." * (1 + i % 4)
        for i in range(100)
    ]
