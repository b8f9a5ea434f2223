#!/usr/bin/env python3
"""What passing a connection on costs (TLS-3), beside HAProxy's TCP mode in the same run: CPU seconds of the
proxy per GB each way, and per 1,000 connections of 16 KiB. Goal: at most 1.2 times HAProxy.

    cargo build --release --locked && python3 benches/pass.py
    python3 benches/pass.py --sekisho PATH --haproxy PATH --gb 4 --rounds 5

One worker each, on CPU 0; clients and targets on CPU 1. Both read the server name in the hello and send a PROXY
header of version 2. HAProxy runs twice: as it comes, and with its own splicing. Rounds alternate, the median is shown.
All traffic is on 127.0.0.1. Needs Linux and haproxy (Debian: apt-get install haproxy)."""
import argparse, multiprocessing, os, shutil, socket, statistics, struct, subprocess, sys, tempfile, time

PIECE = 1 << 20
SMALL = 16 << 10


def hello(name):
    long = lambda b: struct.pack(">H", len(b)) + b
    exts = struct.pack(">H", 0) + long(long(b"\0" + long(name))) + struct.pack(">H", 21) + long(bytes(300))
    body = b"\3\3" + bytes(32) + b"\0" + long(b"\x13\1") + b"\1\0" + long(exts)
    return b"\x16\3\1" + long(b"\1" + struct.pack(">I", len(body))[1:] + body)


def target(sock, mode, total):
    """One connection after the other: `down` sends `total` bytes, `up` reads to the end, `small` sends a little."""
    os.sched_setaffinity(0, {1})
    # The gateway looks at the first byte that a target says: a record of TLS.
    piece, sink = b"\x16" * PIECE, bytearray(PIECE)
    while True:
        conn, _ = sock.accept()
        if not conn.recv_into(sink):
            continue  # a health check
        try:
            if mode == "up":
                while conn.recv_into(sink):
                    pass
                conn.sendall(b"\x16")
            else:
                left = total if mode == "down" else SMALL
                while left:
                    left -= conn.send(memoryview(piece)[: min(left, PIECE)])
        except OSError:
            pass
        conn.close()


def client(port, mode, total):
    conn = socket.create_connection(("127.0.0.1", port))
    conn.sendall(hello(mode.encode() + b".test"))
    sink, got = bytearray(PIECE), 0
    if mode == "up":
        piece, left = bytes(PIECE), total
        while left:
            left -= conn.send(memoryview(piece)[: min(left, PIECE)])
        conn.shutdown(socket.SHUT_WR)
    while count := conn.recv_into(sink):
        got += count
    conn.close()
    expected = {"up": 1, "down": total, "small": SMALL}[mode]
    if got != expected:
        sys.exit(f"{mode}: {got} bytes of {expected}")


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def haproxy(args, ports, dir, splice):
    port = free_port()
    options = "  option splice-request\n  option splice-response\n" if splice else ""
    text = f"global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode tcp\n{options}  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n"
    text += f"frontend f\n  bind 127.0.0.1:{port}\n  tcp-request inspect-delay 5s\n  tcp-request content accept if {{ req_ssl_hello_type 1 }}\n"
    text += "".join(f"  use_backend {m} if {{ req_ssl_sni -i {m}.test }}\n" for m in ports)
    text += "".join(f"backend {m}\n  server s 127.0.0.1:{p} send-proxy-v2 check inter 5s\n" for m, p in ports.items())
    path = os.path.join(dir, f"haproxy-{splice}.cfg")
    open(path, "w").write(text)
    return port, [args.haproxy, "-db", "-q", "-f", path]


def sekisho(args, ports, dir):
    port = free_port()
    text = '[gateway]\nenvironment = "bench"\nstate_dir = "state"\nthreads = 1\n[network]\nloopback = ["127.0.0.0/8"]\n'
    text += f'[log]\naccess = {{ file = "access.log" }}\n[admin]\naddress = "127.0.0.1:{free_port()}"\n'
    text += f'[[listener]]\nname = "edge"\naddress = "127.0.0.1:{port}"\nnetworks = ["loopback"]\n'
    for mode, at in ports.items():
        text += f'[[listener.pass]]\nname = "{mode}"\nserver_names = ["{mode}.test"]\n'
        text += f'targets = [{{ name = "target", address = "127.0.0.1:{at}" }}]\n'
    path = os.path.join(dir, "sekisho.toml")
    open(path, "w").write(text)
    return port, [os.path.abspath(args.sekisho), "run", path]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--sekisho", default="target/release/sekisho")
    words.add_argument("--haproxy", default=shutil.which("haproxy") or "/usr/sbin/haproxy")
    words.add_argument("--gb", type=float, default=4)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--connections", type=int, default=2000)
    args = words.parse_args()
    total, dir = int(args.gb * 1e9), tempfile.mkdtemp(prefix="sekisho-pass-")
    ports, helpers, proxies = {}, [], {}
    try:
        for mode in ["down", "up", "small"]:
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
            sock.listen(1024)
            ports[mode] = sock.getsockname()[1]
            helper = multiprocessing.Process(target=target, args=(sock, mode, total), daemon=True)
            helper.start()
            helpers.append(helper)
            sock.close()
        for name, (port, command) in {
            "sekisho": sekisho(args, ports, dir),
            "haproxy": haproxy(args, ports, dir, False),
            "haproxy, splice": haproxy(args, ports, dir, True),
        }.items():
            err = open(os.path.join(dir, name + ".err"), "w")
            process = subprocess.Popen(["taskset", "-c", "0", *command], cwd=dir, stderr=err, stdout=err)
            proxies[name] = (port, process)
        os.sched_setaffinity(0, {1})
        for name, (port, process) in proxies.items():
            wait_for(port, name, process, dir)
        figures = {}
        for nth in range(args.rounds):
            order = list(proxies.items())
            for name, (port, process) in order[nth % 3 :] + order[: nth % 3]:
                for mode in ["down", "up", "small"]:
                    user, system = cpu(process.pid)
                    began = time.monotonic()
                    for _ in range(args.connections if mode == "small" else 1):
                        client(port, mode, total)
                    took = time.monotonic() - began
                    after = cpu(process.pid)
                    unit = args.connections / 1000 if mode == "small" else args.gb
                    both = [(after[0] - user) / unit, (after[1] - system) / unit]
                    figures.setdefault((mode, name), []).append((sum(both), *both, took))
        print(f"{'workload':22} {'proxy':16} {'CPU s':>8} {'user':>8} {'system':>8} {'to haproxy':>11}")
        for mode, title in [("down", "per GB, to clients"), ("up", "per GB, from clients"), ("small", "per 1,000 connections")]:
            best = min(median(figures[mode, name]) for name in proxies if name != "sekisho")
            for name in proxies:
                rows = sorted(figures[mode, name])
                row = rows[len(rows) // 2]
                print(f"{title:22} {name:16} {row[0]:8.3f} {row[1]:8.3f} {row[2]:8.3f} {row[0] / max(best, 1e-9):10.2f}x")
    finally:
        for _, process in proxies.values():
            process.terminate()
        for _, process in proxies.values():
            process.wait()
        for helper in helpers:
            helper.terminate()
        shutil.rmtree(dir, ignore_errors=True)


def median(rows):
    return statistics.median(row[0] for row in rows)


def wait_for(port, name, process, dir):
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(f"{name} ended: " + open(os.path.join(dir, name + ".err")).read())
        try:
            client(port, "small", 0)
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{name} does not listen")


if __name__ == "__main__":
    main()
