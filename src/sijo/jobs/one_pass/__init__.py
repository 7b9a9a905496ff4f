"""Teaching an encoder to judge all labels in one pass: settings, and what is built of them."""
