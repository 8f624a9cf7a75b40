"""The tutorials as programs: their commands, and the pictures that they show."""
