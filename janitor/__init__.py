"""The housekeeper: reaps, deletes what nobody needs, and checks that the books are right."""
