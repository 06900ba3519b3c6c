"""One process of benchmarks/transport.py, which starts it with the path of a spec."""

from transport_bench.node import main

if __name__ == "__main__":
    main()
