<?php

// The chat's backend in PHP.  nginx sends what a client has emitted as a POST
// to /app and carries out the answer, an array of operations.  Each request
// starts from nothing, so the state is in a file, which is locked meanwhile.

declare(strict_types=1);

const STATE = __DIR__ . '/../run/chat.json';
const NAME = '/^[A-Za-z0-9_-]{1,30}$/D';
const KEPT = 20;

// number: of messages and polls.  history: the last messages of the lobby.
// polls: the last ones, by their tokens.  invited: for each private room the
// names of those who may join.

$state = ['number' => 0, 'history' => [], 'polls' => [], 'invited' => []];

function ack(mixed ...$args): array
{
    return ['op' => 'ack', 'args' => $args];
}

function emit(string|array $to, string $event, mixed ...$args): array
{
    return ['op' => 'emit', 'to' => $to, 'event' => $event, 'args' => $args];
}

function chat(object $request): array
{
    global $state;

    $id = $request->id ?? '';
    $user = $request->data->user ?? '';
    $rooms = $request->rooms ?? [];

    switch ($request->type) {
    case 'connect':             // an emit without "to" is for this socket alone
        return [['op' => 'join', 'rooms' => ['room:lobby', "user:$user"]],
                ['op' => 'emit', 'event' => 'history',
                 'args' => [$state['history']]],
                emit('room:lobby', 'joined', 'lobby', $user, $id)];
    case 'event':
        return onEvent($request->event, $request->args, $user, $id, $rooms);
    case 'ack':
        return onAnswer($request);
    case 'disconnect':
        $to = array_filter($rooms, fn($room) => str_starts_with($room, 'room:'));
        return [emit(array_values($to), 'gone', $user, $id)];
    }
}

// What a client says can be anything, but nginx vouches for user, id and rooms.
// The prefix keeps clients out of the user: rooms and those of socket ids.

function onEvent(string $event, array $args, string $user, string $id,
                 array $rooms): array
{
    global $state;

    [$room, $value] = [...$args, null, null];

    if (!isName($room)) {
        return [ack('error', 'no such room')];
    }
    $to = "room:$room";

    if ($event !== 'join' && !in_array($to, $rooms, true)) {
        return [ack('error', 'not in this room')];
    }
    if (in_array($event, ['say', 'invite', 'poll']) && !is_string($value)) {
        return [ack('error', 'no text')];
    }

    switch ($event) {
    case 'join':
        if (str_starts_with($room, 'private-')) {   // who comes first opens it
            $state['invited'][$room] ??= [$user];

            if (!in_array($user, $state['invited'][$room], true)) {
                return [ack('error', 'not invited')];
            }
        }
        return [['op' => 'join', 'rooms' => [$to]],
                emit($to, 'joined', $room, $user, $id), ack('ok')];
    case 'invite':
        if (!isName($value)) {
            return [ack('error', 'no such user')];
        }
        if (isset($state['invited'][$room])) {
            $state['invited'][$room][] = $value;
        }
        return [emit("user:$value", 'invited', $room, $user), ack('ok')];
    case 'say':
        $message = ['number' => ++$state['number'], 'room' => $room,
                    'user' => $user, 'id' => $id, 'text' => $value];

        if ($room === 'lobby') {
            $state['history'] = array_slice([...$state['history'], $message],
                                            -KEPT);
        }
        return [emit($to, 'message', $message), ack('ok', $message['number'])];
    case 'picture':             // {"_base64":"..."} goes back as it came
        return [emit($to, 'picture', $room, $user, $id, $value)
                + ['except' => [$id]], ack('ok')];
    case 'poll':                // asks all in the room for an acknowledgement
        $token = 'poll-' . ++$state['number'];
        $state['polls'][$token] = ['to' => $to, 'question' => $value,
                                   'votes' => ['yes' => 0, 'no' => 0]];
        $state['polls'] = array_slice($state['polls'], -KEPT);

        return [emit($to, 'vote', $value)
                + ['ack' => $token, 'timeout' => 5000], ack('ok')];
    default:
        return [ack('error', 'no such event')];
    }
}

// The answer of one, or how many have not answered in time.

function onAnswer(object $request): array
{
    global $state;

    if (!isset($state['polls'][$request->token])) {
        return [];
    }
    $poll = &$state['polls'][$request->token];
    $answer = $request->args[0] ?? null;

    if (isset($request->missing)) {
        $poll['votes']['missing'] = $request->missing;
    } elseif ($answer === 'yes' || $answer === 'no') {
        $poll['votes'][$answer]++;
    }
    return [emit($poll['to'], 'votes', $poll['question'], $poll['votes'])];
}

function isName(mixed $value): bool
{
    return is_string($value) && preg_match(NAME, $value);
}

// The cookie is NAME.SIGNATURE, so that nobody can make up one.

function signed(string $user): string
{
    return $user . '.' . hash_hmac('sha256', $user, getenv('CHAT_SECRET'));
}

switch ($_SERVER['DOCUMENT_URI']) {
case '/login':                  // a real one asks for a password, too
    $user = $_POST['name'] ?? '';

    if (!isName($user)) {
        http_response_code(400);
        exit("A name has 1 to 30 letters, digits, - or _.\n");
    }
    setcookie('user', signed($user),
              ['path' => '/', 'httponly' => true, 'samesite' => 'Lax']);
    header('Location: /', true, 303);
    exit;

case '/auth':                   // nginx asks whose request it has
    $cookie = $_COOKIE['user'] ?? '';
    $user = is_string($cookie) ? strtok($cookie, '.') : false;

    if ($user !== false && hash_equals(signed($user), $cookie)) {
        header("X-User: $user");
    }
    http_response_code(204);
    exit;
}

// With sio_handler_batch a body is an array: what one client has emitted while
// its last request was under way.  Each acknowledgement says for which it is.
// The rooms in it are those before the first event: what that one joins, the
// second one's rooms do not have yet.

$requests = json_decode(file_get_contents('php://input'),
                        flags: JSON_THROW_ON_ERROR);
header('Content-Type: application/json');

if ($requests[0]->type === 'connect' && $requests[0]->data->user === '') {
    http_response_code(401);
    exit('{"message":"not logged in","data":{"login":"/login"}}');
}

$file = fopen(STATE, 'c+');
flock($file, LOCK_EX);
$state = json_decode(stream_get_contents($file), true) ?? $state;
$before = $state;
$ops = [];
$joined = [];

foreach ($requests as $request) {
    $request->rooms = array_merge($request->rooms ?? [], $joined);

    foreach (chat($request) as $op) {
        if ($op['op'] === 'join') {
            array_push($joined, ...$op['rooms']);
        }
        $ops[] = $op['op'] === 'ack' ? $op + ['seq' => $request->seq] : $op;
    }
}

if ($state !== $before) {
    rewind($file);
    ftruncate($file, 0);
    fwrite($file, json_encode($state, JSON_THROW_ON_ERROR));
}
echo json_encode($ops, JSON_THROW_ON_ERROR);
