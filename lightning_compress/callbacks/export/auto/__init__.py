"""``plan="auto"``: its arguments, the searches, and what a search costs."""
