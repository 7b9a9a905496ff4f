"""What a person starts: the command line, the service and the page."""
