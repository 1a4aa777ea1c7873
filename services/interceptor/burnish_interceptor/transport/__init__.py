"""HTTP/1.1 on httptools: the listener and the pooled client."""
