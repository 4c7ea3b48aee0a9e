"""Where the program comes from and what it is made of: locks, the wheel, the list of parts, known weaknesses."""
