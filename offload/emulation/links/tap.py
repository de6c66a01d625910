"""A network device whose packets a program reads and writes: one end of an emulated link.

`open_tap` makes a TAP device in a namespace that exists and sets it up. It lasts until it is closed
or the process ends, however that ends. Addresses and routes are left to `network`.

    tap = open_tap("offload-emu-demo-pi", "wifi")
    tap.keep_large_packets()
    packet = tap.read()             # None if there is none now
    tap.write(packet)

A packet here is what the kernel hands over: a header of its own of 10 bytes (struct virtio_net_hdr:
what is left to be done about checksums, and how to cut a large packet), the Ethernet header, the IP
packet. What is written to the other end unchanged needs no checksums in between, for nothing
damages it.

The two ends of a link have the same hardware address and ask nobody for one (NOARP), and they have
no IPv6. So there is nothing on the link but what programs send: no question is lost for a second,
and the same programs meet the same losses.
"""

import fcntl
import os
import struct
from io import FileIO
from pathlib import Path
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from offload.emulation.local.network import inside
from offload.errors import ConfigurationError, EmulationError

# What fits into an Ethernet frame, as on most real links.
MTU: Final = 1500

# The kernel's limit for names of devices, without the zero byte at the end.
LONGEST_NAME: Final = 15

# What may wait in the kernel for a relay that does not get the processor: at 300 Mbit/s 0.2 s.
KERNEL_QUEUE_PACKETS: Final = 5000

# Locally administered, so nobody's.
_ADDRESS: Final = "02:00:00:00:00:01"

_DEVICE_FILE: Final = Path("/dev/net/tun")

# From linux/if_tun.h.
_TUNSETIFF: Final = 0x400454CA
_TUNSETOFFLOAD: Final = 0x400454D0
_IFF_TAP: Final = 0x0002
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_TUN_F_CSUM: Final = 0x01
_TUN_F_TSO: Final = 0x02 | 0x04 | 0x08  # IPv4, IPv6, and with explicit congestion notification

_KERNEL_HEADER: Final = struct.Struct("=BBHHHH")
_ETHERNET_HEADER_BYTES: Final = 14
_HEADERS_BYTES: Final = _KERNEL_HEADER.size + _ETHERNET_HEADER_BYTES

# A packet of usual size fits the first buffer, and the kernel's largest both together.
_SMALL_BYTES: Final = 2048
_LARGE_BYTES: Final = 64 * 1024


class Tap:
    """An open TAP device; see `open_tap`.

    Attributes:
        descriptor: Becomes readable when a packet is there.
    """

    __slots__ = ("_buffers", "_devices", "_large", "_line_start", "_small", "descriptor")

    def __init__(self, descriptor: int, devices: FileIO, name: str) -> None:
        """Take over two open files: of the device, and of its namespace's table of devices."""
        self.descriptor = descriptor
        self._devices = devices
        self._line_start = f"{name}:"
        self._small, self._large = (
            memoryview(bytearray(size)) for size in (_SMALL_BYTES, _LARGE_BYTES)
        )
        self._buffers = [self._small, self._large]

    def read(self) -> bytes | None:
        """Return the next packet that was sent into the device, or None if there is none."""
        try:
            size_bytes = os.readv(self.descriptor, self._buffers)
        except BlockingIOError:
            return None
        if size_bytes <= _SMALL_BYTES:
            return self._small[:size_bytes].tobytes()
        return b"".join((self._small, self._large[: size_bytes - _SMALL_BYTES]))

    def write(self, packet: bytes) -> None:
        """Let the device receive a packet that another one's `read` returned."""
        os.write(self.descriptor, packet)

    def keep_large_packets(self) -> None:
        """Take TCP's packets as the kernel makes them from now on, up to 64 KB long.

        Each costs as much to move as a small one, so much more goes through; but it can only wait,
        be sent and get lost as a whole.
        """
        fcntl.ioctl(self.descriptor, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO)

    def cut_large_packets(self) -> None:
        """Let the kernel cut all packets to what fits an Ethernet frame from now on.

        Those that wait to be read already stay as they are.
        """
        fcntl.ioctl(self.descriptor, _TUNSETOFFLOAD, _TUN_F_CSUM)

    def missed(self) -> int:
        """Return how many packets the kernel dropped, since nobody read them in time."""
        self._devices.seek(0)
        lines = self._devices.readall().decode().splitlines()
        line = next(each for each in lines if each.lstrip().startswith(self._line_start))
        # The name, eight figures of what was received, then of what was sent: bytes, packets,
        # errors, drops.
        return int(line.partition(":")[2].split()[11])

    def close(self) -> None:
        """Remove the device."""
        os.close(self.descriptor)
        self._devices.close()


def open_tap(namespace: str, name: str) -> Tap:
    """Make a TAP device in a namespace and set it up.

    Its large packets are cut, until it is told otherwise.

    Raises:
        ConfigurationError: The name is too long.
        EmulationError: We are not root, the namespace does not exist, the name is not free there,
            or the kernel has no TAP devices.
    """
    if not 0 < len(name.encode()) <= LONGEST_NAME:
        raise ConfigurationError(
            f"device name {name!r} has {len(name.encode())} bytes, expected 1 to {LONGEST_NAME}"
        )
    with inside(namespace):
        descriptor = _open_device_file()
        try:
            _make(descriptor, name, namespace)
            # This stays the table of the namespace in which it was opened.
            devices = FileIO("/proc/thread-self/net/dev")
        except BaseException:
            os.close(descriptor)
            raise
    tap = Tap(descriptor, devices, name)
    tap.cut_large_packets()
    return tap


def ip_bytes(packet: bytes) -> int:
    """Return how many bytes of IP packets something that `Tap.read` returned makes on the link.

    A large packet counts as those that it would be cut into, each with headers of its own.
    """
    size_bytes = len(packet) - _HEADERS_BYTES
    if size_bytes <= MTU:
        return size_bytes
    kind: int
    piece_bytes: int
    tcp_start: int
    _, kind, _, piece_bytes, tcp_start, _ = _KERNEL_HEADER.unpack_from(packet)
    if not kind:
        return size_bytes
    # How long TCP's header is, in words of four bytes, is in the upper half of its byte 12.
    tcp_header_bytes = (packet[_KERNEL_HEADER.size + tcp_start + 12] >> 4) * 4
    header_bytes = tcp_start - _ETHERNET_HEADER_BYTES + tcp_header_bytes
    pieces = -(-(size_bytes - header_bytes) // piece_bytes)
    return size_bytes + (pieces - 1) * header_bytes


def _open_device_file() -> int:
    try:
        return os.open(_DEVICE_FILE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise EmulationError(
            f"{_DEVICE_FILE} cannot be opened: {error.strerror}; `modprobe tun` as root, or start "
            f"the container with --device {_DEVICE_FILE}"
        ) from error


def _make(descriptor: int, name: str, namespace: str) -> None:
    try:
        fcntl.ioctl(
            descriptor,
            _TUNSETIFF,
            struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR),
        )
        _switch_off_ipv6(name)
        with IPRoute() as kernel:
            index = kernel.link_lookup(ifname=name)[0]
            kernel.link(
                "set",
                index=index,
                mtu=MTU,
                address=_ADDRESS,
                txqlen=KERNEL_QUEUE_PACKETS,
                arp=False,
                state="up",
            )
    except (OSError, NetlinkError) as error:
        raise EmulationError(
            f"device {name!r} cannot be made in namespace {namespace!r}: {error}"
        ) from error


def _switch_off_ipv6(name: str) -> None:
    """Keep the kernel from looking for IPv6 neighbours and routers on a device."""
    switch = Path("/proc/sys/net/ipv6/conf", name, "disable_ipv6")
    # A kernel without IPv6 has no such switch.
    if switch.exists():
        switch.write_text("1", encoding="ascii")
