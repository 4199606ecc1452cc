"""The demo: a warehouse over a year of real flights, built day by day before the user's eyes."""
