"""`python -m streams COMMAND`: one module a command. What a command needs is imported when it runs, not before."""
