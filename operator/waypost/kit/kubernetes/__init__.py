"""The Kubernetes API for whoever reads or writes it: how one gets in, requests, and following a collection.

`access` finds the API server and the credentials (the only importer of the `kubernetes` package), `api` asks it,
`informer` lists and watches, `errors` says what an answer meant. Bodies are bytes: who asks decodes, with msgspec, no
more than it uses.
"""
