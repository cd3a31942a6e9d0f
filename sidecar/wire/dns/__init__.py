"""DNS packets, and the records by which go-micro describes services over mDNS."""
