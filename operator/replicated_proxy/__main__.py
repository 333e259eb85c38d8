"""`python -m replicated_proxy`."""

from replicated_proxy.cli import main

if __name__ == "__main__":
    main()
