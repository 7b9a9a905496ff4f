"""`sijo serve`: models behind HTTP, in the shapes that other services have taught people to send."""
