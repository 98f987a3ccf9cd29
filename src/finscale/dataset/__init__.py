"""A study's data, from its sources to the rows that every model of a cell sees."""
