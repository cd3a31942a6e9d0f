"""Is the app well, and is it therefore in the registry?"""
