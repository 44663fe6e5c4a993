"""The mail transfer agent: inbound SMTP, the queue, routing and outbound SMTP."""
