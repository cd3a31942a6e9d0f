"""The port at which go-micro callers reach an app that speaks plain HTTP: the app, and what is answered for it."""
