"""The section `admission`: what a Pod's creation costs with the webhook, as whoever creates it sees it."""
