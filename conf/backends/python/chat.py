# The chat's backend in Python, a WSGI application of the standard library
# alone.  nginx sends each event as a POST to /app and carries out the answer, a
# list of operations.  The state is in memory: one process with some threads
# serves all, and a lock keeps the threads from each other's events.

import hashlib
import hmac
import itertools
import json
import os
import re
import threading
import urllib.parse

SECRET = os.environ['CHAT_SECRET'].encode()
NAME = re.compile('[A-Za-z0-9_-]{1,30}')
KEPT = 20

history = []                # the last messages of the lobby
polls = {}                  # token -> poll, the last ones
invited = {}                # private room -> names of those who may join
numbers = itertools.count(1)
lock = threading.Lock()


def ack(*args):
    return {'op': 'ack', 'args': args}


def emit(to, event, *args, **more):
    return {'op': 'emit', 'to': to, 'event': event, 'args': args, **more}


def chat(request):
    user = request.get('data', {}).get('user')
    id = request.get('id')
    rooms = request.get('rooms', [])

    match request['type']:
        case 'connect':     # an emit without "to" is for this socket alone
            return [{'op': 'join', 'rooms': ['room:lobby', f'user:{user}']},
                    {'op': 'emit', 'event': 'history', 'args': [history]},
                    emit('room:lobby', 'joined', 'lobby', user, id)]
        case 'event':
            return on_event(request['event'], request['args'], user, id, rooms)
        case 'ack':
            return on_answer(**request)
        case 'disconnect':
            return [emit([room for room in rooms if room.startswith('room:')],
                         'gone', user, id)]


# What a client says can be anything, but nginx vouches for user, id and rooms.
# The prefix keeps clients out of the user: rooms and those of socket ids.

def on_event(event, args, user, id, rooms):
    room, value = (args + [None, None])[:2]
    to = f'room:{room}'

    if not is_name(room):
        return [ack('error', 'no such room')]
    if event != 'join' and to not in rooms:
        return [ack('error', 'not in this room')]
    if event in ('say', 'invite', 'poll') and not isinstance(value, str):
        return [ack('error', 'no text')]

    match event:
        case 'join':
            if room.startswith('private-'):     # who comes first has opened it
                names = invited.setdefault(room, {user})
                if user not in names:
                    return [ack('error', 'not invited')]

            return [{'op': 'join', 'rooms': [to]},
                    emit(to, 'joined', room, user, id), ack('ok')]
        case 'invite':
            if not is_name(value):
                return [ack('error', 'no such user')]

            invited.get(room, set()).add(value)
            return [emit(f'user:{value}', 'invited', room, user), ack('ok')]
        case 'say':
            number = next(numbers)
            message = {'number': number, 'room': room, 'user': user, 'id': id,
                       'text': value}

            if room == 'lobby':
                history[:] = [*history, message][-KEPT:]
            return [emit(to, 'message', message), ack('ok', number)]
        case 'picture':     # {"_base64": "..."} goes back as it came
            return [emit(to, 'picture', room, user, id, value, **{'except': id}),
                    ack('ok')]
        case 'poll':        # asks all in the room for an acknowledgement
            token = f'poll-{next(numbers)}'
            polls[token] = {'to': to, 'question': value,
                            'votes': {'yes': 0, 'no': 0}}

            if len(polls) > KEPT:
                del polls[next(iter(polls))]
            return [emit(to, 'vote', value, ack=token, timeout=5000), ack('ok')]
        case _:
            return [ack('error', 'no such event')]


# The answer of one, or how many have not answered in time.

def on_answer(token, missing=0, args=(), **_):
    poll = polls.get(token)

    if poll is None:
        return []
    if missing:
        poll['votes']['missing'] = missing
    elif args and args[0] in ('yes', 'no'):
        poll['votes'][args[0]] += 1

    return [emit(poll['to'], 'votes', poll['question'], poll['votes'])]


def is_name(value):
    return isinstance(value, str) and NAME.fullmatch(value)


# The cookie is NAME.SIGNATURE, so that nobody can make up one.

def signed(user):
    signature = hmac.new(SECRET, user.encode(), hashlib.sha256)
    return f'{user}.{signature.hexdigest()}'


def who_has(cookies):
    cookie = re.search(r'\buser=(([\w-]+)\.\w{64})\b', cookies, re.ASCII)

    if cookie and hmac.compare_digest(cookie[1], signed(cookie[2])):
        return cookie[2]


def application(environ, start_response):
    body = environ['wsgi.input'].read(int(environ['CONTENT_LENGTH'] or 0))

    match environ['PATH_INFO']:
        case '/login':      # a real one asks for a password, too
            [user] = urllib.parse.parse_qs(body.decode()).get('name', [''])

            if is_name(user):
                start_response('303 See Other', [
                    ('Location', '/'),
                    ('Set-Cookie', f'user={signed(user)}; Path=/; HttpOnly; '
                                   'SameSite=Lax')])
                return []
            start_response('400 Bad Request', [])
            return [b'A name has 1 to 30 letters, digits, - or _.\n']
        case '/auth':       # nginx asks whose request it has
            user = who_has(environ.get('HTTP_COOKIE', ''))
            start_response('204 No Content', [('X-User', user)] if user else [])
            return []

    request = json.loads(body)

    with lock:              # until all is written: the history is shared
        if request['type'] == 'connect' and not request['data']['user']:
            status = '401 Unauthorized'
            answer = {'message': 'not logged in', 'data': {'login': '/login'}}
        else:
            status = '200 OK'
            answer = chat(request)

        answer = json.dumps(answer)

    start_response(status, [('Content-Type', 'application/json')])
    return [answer.encode()]
