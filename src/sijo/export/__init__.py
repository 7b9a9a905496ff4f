"""Networks as files that other programs run: written node by node, compared with the original, and then kept."""
