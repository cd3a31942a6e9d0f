"""Services by path, and the proxies: for go-micro clients that know no sidecar, and for services that speak HTTP."""
