"""The dialects that nodes speak: go-micro's own protocol, gRPC, plain HTTP; one file each, and what they share."""
