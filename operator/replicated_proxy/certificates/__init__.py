"""The webhook's certificate: made, checked, kept in Secrets, and planned. The only room with private keys."""
