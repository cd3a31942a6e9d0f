"""What an app says of the methods that it offers, in each form in which that may be said."""
