"""The housekeeper: deletes what nobody needs any more, and checks that the books are right."""
