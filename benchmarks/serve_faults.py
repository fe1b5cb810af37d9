"""What the service does when things go wrong around it; each run prints what it sent and what came back.

python benchmarks/serve_faults.py
python benchmarks/serve_faults.py --only garbage --bodies 2000

worker   a worker thread dies within a photo while others ask
loris    200 clients that send a byte a second, half of them in the head of a request, half in its body
garbage  damaged pictures, forms and queries, made up from a seed
disk     a full disk: the process may write no byte into any file

All of it stays on this machine and ends by itself. Returns 1 where anything came back that shouldn't.
"""

from __future__ import annotations

import argparse
import http.client
import random
import resource
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from benchmarks.serve import load, started, write_pictures  # noqa: E402
from benchmarks.serve_load import HOST, number_jpeg  # noqa: E402

SLOW, HEAD_SECONDS, BODY_SECONDS = 200, 3.0, 6.0
SEED = 20
# What kills the worker: a photo with this number in its comment.
_DEADLY = number_jpeg(b"\xff\xd8", 13)
JPEG = {"Content-Type": "image/jpeg"}


def main() -> int:
    """Run the faults. Returns 1 where one of them did harm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=FAULTS, help="one of them (default: all)")
    parser.add_argument("--bodies", type=int, default=10_000, help="bodies of garbage")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with started(["benchmarks/serve_peer.py"]) as peer:
            pictures = write_pictures(Path(folder) / "photos", "photos", peer.port)
        well = [fault(pictures, args) for name, fault in FAULTS.items() if args.only in (None, name)]
    return int(not all(well))


def killed_worker(pictures: Path, args: argparse.Namespace) -> bool:
    """Let one of two worker threads die while eight clients ask, then the other."""
    photo = number_jpeg(next(pictures.glob("*.jpg")).read_bytes(), 13)
    with in_process() as port:
        timer = threading.Timer(1.0, lambda: told.append(ask(port, photo)))
        told: list[tuple[int, bytes]] = []
        timer.start()
        seen = load(port, pictures, clients=8, seconds=3.0)
        timer.join()
        ready = ask(port, b"", path="/readyz", method="GET")
        dead = ask(port, photo)
        after = ask(port, next(pictures.glob("*.jpg")).read_bytes())
    print("worker: a photo that ends the thread that works on it, among those of 8 clients")
    print(f"  the photo: {told[0][0]} {told[0][1].decode()}")
    print(f"  the clients: {_sums(seen)}")
    print(f"  /readyz: {ready[0]} {ready[1].decode()}")
    print(f"  once more, for the other thread: {dead[0]}; any photo after that: {after[0]} {after[1].decode()}\n")
    clean = not (seen["failed"] or seen["lost"] or seen["wrong"]) and seen["answered"] > 0
    return clean and [told[0][0], ready[0], dead[0], after[0]] == [500, 503, 500, 503]


def slow_loris(pictures: Path, args: argparse.Namespace) -> bool:
    """Hold 200 connections with a byte a second while eight clients ask."""
    flags = ["--header_timeout", str(HEAD_SECONDS), "--body_timeout", str(BODY_SECONDS)]
    with started(["serve.py", "--model", "ssrnet", "--port", "0", *flags]) as server:
        slow = [SlowClient(server.port, in_head=bool(number % 2)) for number in range(SLOW)]
        thread = threading.Thread(target=drip, args=(slow, BODY_SECONDS + 6))
        thread.start()
        seen = load(server.port, pictures, clients=8, seconds=4.0)
        thread.join()
        after = ask(server.port, b"", path="/readyz", method="GET")
    print(f"loris: {SLOW} clients send a byte a second, half in the head of a request, half in its body")
    reached = True
    for in_head, limit in ((True, HEAD_SECONDS), (False, BODY_SECONDS)):
        ends = [each.ended for each in slow if each.in_head == in_head]
        said = Counter(each.said for each in slow if each.in_head == in_head)
        closed = [end for end in ends if end is not None]
        flag = "--header_timeout" if in_head else "--body_timeout"
        longest = max(closed, default=float("nan"))
        print(f"  {flag} {limit:g}: {len(closed)} of {len(ends)} closed, the last after {longest:.1f} s; {dict(said)}")
        reached = reached and len(closed) == len(ends)
    print(f"  8 quick clients beside them: {_sums(seen)}; /readyz after: {after[0]}\n")
    return reached and not (seen["failed"] or seen["lost"] or seen["wrong"]) and after[0] == 200


def garbage(pictures: Path, args: argparse.Namespace) -> bool:
    """Send damaged bodies on eight connections."""
    photos = [path.read_bytes() for path in sorted(pictures.glob("*.jpg"))]
    with started(["serve.py", "--model", "ssrnet", "--port", "0", "--max_body", "1", "--min_face", "60"]) as server:
        ask(server.port, photos[0])
        before, begun = server.resident(), time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            parts = pool.map(lambda part: fuzz(server.port, photos, range(part, args.bodies, 8)), range(8))
            statuses, causes = Counter[int](), Counter[str]()
            for one, other in parts:
                statuses += one
                causes += other
        lasted = time.monotonic() - begun
        after, sound = server.resident(), ask(server.port, photos[0])[0]
        ready = ask(server.port, b"", path="/readyz", method="GET")[0]
    print(f"garbage: {args.bodies:,} bodies (seed {SEED}) in {lasted:.0f} s")
    print(f"  statuses: {dict(sorted(statuses.items()))}")
    print(f"  causes: {dict(causes.most_common())}")
    print(f"  RSS {before:.0f} MB before, {after:.0f} after; then a sound photo: {sound}, /readyz: {ready}\n")
    return statuses.total() == args.bodies and sound == ready == 200 and not any(status >= 500 for status in statuses)


def full_disk(pictures: Path, args: argparse.Namespace) -> bool:
    """Forbid the service to write into files, and send it what is large."""
    photos = [path.read_bytes() for path in sorted(pictures.glob("*.jpg"))]
    with tempfile.TemporaryDirectory() as folder:
        command = ["serve.py", "--model", "ssrnet", "--port", "0"]
        with started(command, environment={"TMPDIR": folder}, preexec_fn=_no_files) as server:
            form, kind = _form([("large.jpg", large_jpeg(photos[0], 6_000_000)), *((f"{n}.jpg", p) for n, p in
                                                                                   enumerate(photos))])  # fmt: skip
            statuses = {
                "a photo": ask(server.port, photos[0])[0],
                "a photo of 15 MB": ask(server.port, large_jpeg(photos[0], 15_000_000))[0],
                f"a form of {len(form) / 1e6:.0f} MB": ask(server.port, form, headers={"Content-Type": kind})[0],
                "an annotated picture": ask(server.port, photos[0], path="/v1/analyze?annotated=png")[0],
                "a damaged photo": ask(server.port, photos[0][:500])[0],
            }
            seen = load(server.port, pictures, clients=8, seconds=3.0)
            io = Path(f"/proc/{server.process.pid}/io").read_text()
            written = next(line for line in io.splitlines() if line.startswith("write_bytes"))
            left = [f"{path.name} ({path.stat().st_size} bytes)" for path in Path(folder).iterdir()]
    print("disk: no file may grow (RLIMIT_FSIZE 0)")
    print("  " + ", ".join(f"{what}: {status}" for what, status in statuses.items()))
    print(f"  8 clients: {_sums(seen)}")
    print(f"  {written} to disks; files left in its folder for temporary ones: {left or 'none'}\n")
    fine = list(statuses.values()) == [200, 200, 200, 200, 422] and not left and written.split()[1] == "0"
    return fine and not (seen["failed"] or seen["lost"] or seen["wrong"])


@contextmanager
def in_process() -> Iterator[int]:
    """Serve here, with detectors that a certain photo kills; yield the port."""
    import cv2

    from agegender import Predictor
    from agegender.deploy.detectors import open_detector
    from agegender.service import analyzer
    from agegender.service.config import ServiceConfig
    from agegender.service.pictures import decode_picture
    from agegender.service.server import Server
    from agegender.service.service import Service

    cv2.setNumThreads(1)

    def deadly(data: bytes, *, max_pixels: int) -> Any:
        if data.startswith(_DEADLY):
            raise SystemExit("the thread ends here")
        return decode_picture(data, max_pixels=max_pixels)

    predictor = Predictor("ssrnet", gpu_ids="cpu", threads=1)
    detectors = [predictor.detector, open_detector("mtcnn", threads=1)]
    service = Service(predictor, detectors, config=ServiceConfig(port=0), model_name="ssrnet")
    service.analyzer.wait_until_warm()
    server = Server(service)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        with mock.patch.object(analyzer, "decode_picture", deadly):
            yield server.address[1]
    finally:
        server.begin_stop()
        thread.join()
        service.stop()


class SlowClient:
    """A connection that sends a request a byte at a time. ``ended`` is after how many seconds it was closed."""

    def __init__(self, port: int, *, in_head: bool) -> None:
        self.in_head, self.said = in_head, ""
        self.ended: float | None = None
        self._begun = time.monotonic()
        self._socket = socket.create_connection((HOST, port))
        start = b"POST /v1/analyze HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nContent-Length: 5000\r\n"
        self._socket.sendall(start if in_head else start + b"\r\n")
        self._socket.setblocking(False)

    def go_on(self) -> None:
        """Send a byte more, or see that it is over."""
        if self.ended is not None:
            return
        try:
            answer = self._socket.recv(1000)
            self.said = self.said or answer.partition(b"\r\n")[0].decode()
            over = not answer
        except BlockingIOError:
            over = False
        except OSError:
            over = True
        if not over:
            try:
                self._socket.send(b"x")
                return
            except OSError:
                over = True
        self.ended = time.monotonic() - self._begun
        self._socket.close()


def drip(slow: list[SlowClient], seconds: float) -> None:
    """Let all slow clients go on, once a second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(each.ended is None for each in slow):
        for each in slow:
            each.go_on()
        time.sleep(1.0)


def fuzz(port: int, photos: list[bytes], numbers: range) -> tuple[Counter[int], Counter[str]]:
    """Send the damaged bodies of ``numbers`` on one connection; return statuses and causes, and how many were alike."""
    statuses, causes = Counter[int](), Counter[str]()
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    for number in numbers:
        path, headers, body = damaged(random.Random(SEED * 1_000_003 + number), photos)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        statuses[answer.status] += 1
        if answer.status != 200:
            causes[text.partition('"cause":"')[2].partition('"')[0] or text[:60]] += 1
    connection.close()
    return statuses, causes


def damaged(rng: random.Random, photos: list[bytes]) -> tuple[str, dict[str, str], bytes]:
    """Return a path, headers and body that make no sense, or next to none."""
    body = rng.choice(_DAMAGES)(rng, bytearray(rng.choice(photos)))
    path = "/v1/analyze" if rng.random() < 0.7 else "/v1/embeddings"
    if rng.random() < 0.2:
        name = rng.choice(("min_score", "min_face", "lang", "annotated", "%00", "x" * 300))
        path += f"?{name}={rng.choice(('nan', '-1', '1e999', 'en', '%ff%fe', '{}'))}"
    if rng.random() < 0.4:
        body, kind = _form([("a.jpg", body)] * rng.randint(1, 3))
        if rng.random() < 0.7:
            body = _scratch(rng, bytearray(body), 0.2)
        return path, {"Content-Type": kind}, body
    kinds = ("image/jpeg", "image/png", "application/octet-stream", "application/json", "image/../x", "multipart/mixed")
    return path, {"Content-Type": rng.choice(kinds)}, body


def _noise(rng: random.Random, photo: bytearray) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 2, 10, 1000, 20_000)))


def _cut(rng: random.Random, photo: bytearray) -> bytes:
    return bytes(photo[: rng.randrange(len(photo))])


def _scratch(rng: random.Random, photo: bytearray, near: float = 1.0) -> bytes:
    for _ in range(rng.choice((1, 3, 30, 300))):
        photo[rng.randrange(max(1, int(near * len(photo))))] = rng.randrange(256)
    return bytes(photo)


def _headers_alone(rng: random.Random, photo: bytearray) -> bytes:
    """The first bytes of a format, then noise; sizes that no picture has."""
    starts = (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\0\0\0",
        b"GIF89a\xff\xff\xff\xff\xf7\0\0",
        b"BM\xff\xff\xff\x7f\0\0\0\0\x36\0\0\0\x28\0\0\0\xff\xff\xff\x7f\xff\xff\xff\x7f",
        b"RIFF\xff\xff\xff\xffWEBPVP8L",
        b"II*\0\x08\0\0\0\xff\xff",
        b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03",
        b"PK\x03\x04",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n",
    )
    return rng.choice(starts) + rng.randbytes(rng.randrange(2000))


def _swapped(rng: random.Random, photo: bytearray) -> bytes:
    """A piece of it elsewhere in it."""
    length = rng.randrange(1, len(photo) // 2)
    start, place = rng.randrange(len(photo) - length), rng.randrange(len(photo) - length)
    photo[place : place + length] = photo[start : start + length]
    return bytes(photo)


_DAMAGES: tuple[Callable[[random.Random, bytearray], bytes], ...] = (_noise, _cut, _scratch, _headers_alone, _swapped)


def large_jpeg(photo: bytes, size: int) -> bytes:
    """Return ``photo`` with comments that make it ``size`` bytes long, or a little more."""
    piece = b"\xff\xfe\xff\xff" + b"x" * 65533
    return photo[:2] + piece * -(-size // len(piece)) + photo[2:]


def _form(files: list[tuple[str, bytes]]) -> tuple[bytes, str]:
    lines = b""
    for name, data in files:
        head = f'--limit\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        lines += head.encode() + data + b"\r\n"
    return lines + b"--limit--\r\n", "multipart/form-data; boundary=limit"


def ask(
    port: int, body: bytes, *, path: str = "/v1/analyze", method: str = "POST", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Send one request; return status and body of the answer."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request(method, path, body, JPEG if headers is None else headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _sums(seen: dict[str, Any]) -> str:
    words = ", ".join(f"{seen[name]} {name}" for name in ("answered", "refused", "failed", "lost", "wrong"))
    return f"{words}, p99 {seen['p99']:.0f} ms"


def _no_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


FAULTS: dict[str, Callable[[Path, argparse.Namespace], bool]] = {
    "worker": killed_worker,
    "loris": slow_loris,
    "garbage": garbage,
    "disk": full_disk,
}

if __name__ == "__main__":
    sys.exit(main())
