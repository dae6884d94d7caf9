"""python-socketio, with threads and with asyncio: the same steps in both.

Called as "python.py URL [--reference]"; prints TAP.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
import urllib.error
import urllib.request

import socketio

URL = sys.argv[1]
DEADLINE = 40 if 'NGX_SIO_ASAN' in os.environ else 10

BYTES = bytes(range(256))
TEXT = [None, True, 0, -1.5, 2 ** 53, '', 'Grüße 😀 \u2028 "\\', [], {},
        {'a': [1, {'b': [None]}]}]
DEEP = [{'a': [BYTES, 'x', {'b': b''}]}, b'\x00', {'t': 1}]

logging.disable(logging.CRITICAL)


class Inbox:
    """What came in, by name of event."""

    def __init__(self):
        self.items = {}

    def put(self, name, item):
        self.items.setdefault(name, []).append(item)

    def take(self, name):
        return self.items[name].pop(0) if self.items.get(name) else None


class Threads:
    """The client with threads."""

    def __init__(self, inbox):
        self.sio = socketio.Client(reconnection_delay=0.02,
                                   handle_sigint=False)
        self.inbox = inbox

    def handler(self, name):
        return lambda *args: self.inbox.put(name, list(args))

    async def call(self, method, *args, **kwargs):
        return getattr(self.sio, method)(*args, **kwargs)

    async def pause(self):
        time.sleep(0.005)


class Tasks(Threads):
    """The client with asyncio."""

    def __init__(self, inbox):
        self.sio = socketio.AsyncClient(reconnection_delay=0.02,
                                        handle_sigint=False)
        self.inbox = inbox

    def handler(self, name):
        async def handle(*args):
            self.inbox.put(name, list(args))
        return handle

    async def call(self, method, *args, **kwargs):
        return await getattr(self.sio, method)(*args, **kwargs)

    async def pause(self):
        await asyncio.sleep(0.005)


class Peer:
    """A client that remembers its events."""

    EVENTS = ['connect', 'connect_error', 'disconnect', 'welcome', 'echo',
              'say', 'msg', 'gone', 'ünï ✓']

    def __init__(self, flavour):
        self.inbox = Inbox()
        self.client = flavour(self.inbox)
        self.sio = self.client.sio
        for namespace in '/', '/chat', '/nope':
            for event in self.EVENTS:
                self.sio.on(event, self.client.handler((namespace, event)),
                            namespace=namespace)

    async def connect(self, transports, namespaces=('/',), **kwargs):
        kwargs.setdefault('wait_timeout', DEADLINE)
        await self.client.call('connect', URL, transports=transports,
                               namespaces=list(namespaces), **kwargs)
        return self

    async def emit(self, event, *args, namespace='/', callback=None):
        await self.client.call('emit', event, args, namespace=namespace,
                               callback=callback)

    async def ask(self, event, *args, namespace='/'):
        """The arguments of the acknowledgement, alone if it is one."""
        return await self.client.call('call', event, args,
                                      namespace=namespace, timeout=DEADLINE)

    async def next(self, event, namespace='/'):
        end = time.monotonic() + DEADLINE
        while True:
            item = self.inbox.take((namespace, event))
            if item is not None:
                return item
            if time.monotonic() > end:
                raise AssertionError(f'timed out waiting for {event}')
            await self.client.pause()

    async def gone(self, sid):
        """The reason; clients of earlier tests may still be leaving."""
        while True:
            who, reason = await self.next('gone')
            if who == sid:
                return reason

    async def close(self):
        await self.client.call('disconnect')


def same(got, expected):
    assert got == expected, f'got {got!r:.300}, expected {expected!r:.300}'


TESTS = []


def test(name):
    def add(body):
        TESTS.append((name, body))
        return body
    return add


@test('text events')
async def _(new, how):
    peer = await (await new()).connect(how)
    await peer.emit('echo', *TEXT)
    same(await peer.next('echo'), TEXT)
    await peer.emit('echo')
    same(await peer.next('echo'), [])
    await peer.emit('ünï ✓', '\u2028')
    same(await peer.next('ünï ✓'), ['\u2028'])


@test('binary and nested binary events')
async def _(new, how):
    peer = await (await new()).connect(how)
    for args in [[BYTES], [b''], DEEP, [BYTES, BYTES, {'again': [BYTES]}],
                 [bytes(70000)]]:
        await peer.emit('echo', *args)
        same(await peer.next('echo'), args)


@test('acknowledgements')
async def _(new, how):
    peer = await (await new()).connect(how)
    same(await peer.ask('ask', 'one'), 'one')
    same(await peer.ask('ask', *TEXT), tuple(TEXT))
    same(await peer.ask('ask', BYTES), BYTES)
    same(await peer.ask('ask', *DEEP), tuple(DEEP))
    same(await peer.ask('ask'), None)


@test('numbers as large as they come')
async def _(new, how):
    if '--reference' in sys.argv:
        return
    peer = await (await new()).connect(how)
    same(await peer.ask('ask', 2 ** 70, -2 ** 64), (2 ** 70, -2 ** 64))
    await peer.emit('echo', 12345678901234567890)
    same(await peer.next('echo'), [12345678901234567890])


@test('auth, the connection rule')
async def _(new, how):
    auth = {'token': 'tök"en', 'n': [1]}
    peer = await (await new()).connect(how, auth=auth)
    same(await peer.next('welcome'), [peer.sio.get_sid('/'), auth])
    peer = await (await new()).connect(how)
    same(await peer.next('welcome'), [peer.sio.get_sid('/'), {}])


@test('several namespaces')
async def _(new, how):
    peer = await (await new()).connect(how, ['/', '/chat'])
    other = await (await new()).connect(how, ['/', '/chat'])
    assert peer.sio.get_sid('/') != peer.sio.get_sid('/chat')
    await peer.emit('say', 1, BYTES, namespace='/chat')
    same(await other.next('say', '/chat'), [1, BYTES])
    await peer.emit('say', 2)
    same(await other.next('say'), [2])
    assert other.inbox.take(('/chat', 'say')) is None
    assert peer.inbox.take(('/', 'say')) is None


@test('an unknown namespace')
async def _(new, how):
    peer = await new()
    try:
        await peer.connect(how, ['/', '/nope'], wait_timeout=0.3)
        raise AssertionError('connected')
    except socketio.exceptions.ConnectionError:
        pass
    error, = await peer.next('connect_error', '/nope')
    same(error, {'message': 'Invalid namespace'})


@test('rooms')
async def _(new, how):
    one = await (await new()).connect(how)
    two = await (await new()).connect(how)
    await one.ask('join', 'röd')
    await two.emit('to', 'röd', 1)
    same(await one.next('msg'), [1])
    await one.ask('leave', 'röd')
    await two.emit('to', 'röd', 2)
    await two.ask('ask')
    await one.ask('ask')
    assert one.inbox.take(('/', 'msg')) is None


@test('the client disconnects')
async def _(new, how):
    observer = await (await new()).connect(['websocket'])
    await observer.ask('watch')
    peer = await (await new()).connect(how)
    sid = peer.sio.get_sid('/')
    await peer.client.call('disconnect')
    await peer.next('disconnect')
    # it sends DISCONNECT, a close packet and closes its connections all at
    # once, so that the server may see any of them first, or none
    await observer.gone(sid)


@test('the server disconnects')
async def _(new, how):
    observer = await (await new()).connect(['websocket'])
    await observer.ask('watch')
    peer = await (await new()).connect(how)
    sid = peer.sio.get_sid('/')
    poll = f'{URL}/socket.io/?EIO=4&transport=polling&sid={peer.sio.eio.sid}'
    await peer.emit('kill')
    await peer.next('disconnect')
    same(await observer.gone(sid), 'server namespace disconnect')

    # this client may end without its close packet, for which the server waits
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(poll, timeout=DEADLINE).read()


@test('it comes back after the server dropped the connection')
async def _(new, how):
    peer = await (await new()).connect(how)
    await peer.next('connect')
    sid = peer.sio.get_sid('/')
    await peer.client.call('_send_packet', socketio.packet.Packet(
        socketio.packet.EVENT, data=['connect']))
    await peer.next('disconnect')
    if how == ['polling']:
        return  # this client takes the close packet as the end
    await peer.next('connect')
    assert peer.sio.get_sid('/') != sid
    same(await peer.ask('ask', 'again'), 'again')


@test('heartbeats')
async def _(new, how):
    peer = await (await new()).connect(how)
    eio, pongs = peer.sio.eio, []
    receive = eio._receive_packet

    def spy(packet):
        if packet.packet_type == 2:
            pongs.append(packet)
        return receive(packet)

    eio._receive_packet = spy
    end = time.monotonic() + DEADLINE
    while len(pongs) < 3:
        assert time.monotonic() < end, 'pings come'
        await peer.client.pause()
    same(await peer.ask('ask', 'alive'), 'alive')


@test('a large message')
async def _(new, how):
    peer = await (await new()).connect(how)
    for value in 'x' * 900000, bytes(700000):
        await peer.emit('echo', value)
        same(await peer.next('echo'), [value])


async def run():
    number = failed = 0
    for flavour in Threads, Tasks:
        for kind, how in [('polling', ['polling']),
                          ('websocket', ['websocket']),
                          ('upgrade', ['polling', 'websocket'])]:
            for name, body in TESTS:
                peers = []

                async def new():
                    peers.append(Peer(flavour))
                    return peers[-1]

                number += 1
                label = f'{flavour.__name__.lower()} {kind}: {name}'
                try:
                    await asyncio.wait_for(body(new, how), 4 * DEADLINE)
                    print(f'ok {number} - {label}', flush=True)
                except Exception as error:
                    failed += 1
                    print(f'not ok {number} - {label}')
                    print(f'# {type(error).__name__}: {error}', flush=True)
                for peer in peers:
                    with contextlib.suppress(Exception):
                        await peer.close()
    print(f'1..{number}', flush=True)
    return 1 if failed else 0


sys.exit(asyncio.run(run()))
