"""Responsibility for undelivered mail: what is owed to whom, when to try again, when to give up."""
