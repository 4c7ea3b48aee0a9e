"""What fabula must stand: one file a question, each with a broken control that it has to catch; `python -m torture`."""
