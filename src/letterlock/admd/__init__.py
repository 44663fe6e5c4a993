"""One administrative management domain: settings to roles, wired and run (the composition root)."""
