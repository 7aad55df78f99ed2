"""The command line; imports the rooms lazily."""
