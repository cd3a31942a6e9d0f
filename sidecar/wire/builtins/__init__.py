"""What servers answer of themselves: go-micro's ``Debug``, and gRPC's health service."""
