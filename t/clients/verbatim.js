'use strict';

/* What JavaScript would change in passing comes through byte by byte. */

const { RAW, same, test } = require('./harness');

const VALUES = [
    '12345678901234567890', '-9223372036854775809', '1e400', '1.0', '-0',
    '0.10', '1E+2', '123456789012345678901234567890.12345678901234567890',
    '"\\u0041\\/\\u00e9"', '"\\ud83d\\ude00"', '"\\ud800"', '"\u007f"',
    '{"a":1,"a":2}', '{ "b" : [ 1 , 2 ] }', '{"__proto__":1}', '[ ]',
    '"\u2028"',
];

test('events', { kinds: RAW }, async t => {
    const raw = await t.raw();

    await raw.join();
    for (const value of VALUES) {
        raw.send(`2["echo",${value},{"x":${value}}]`);
        same(await raw.next(), `2["echo",${value},{"x":${value}}]`);
        raw.send(`25["ask",${value},[${value}]]`);
        same(await raw.next(), `35[${value},[${value}]]`);
    }
});

test('templates', { kinds: RAW }, async t => {
    const raw = await t.raw();

    await raw.join();
    for (const value of VALUES) {
        raw.send(`26["first",${value},"x"]`);
        same(await raw.next(), `36["got",${value},{"all":[${value},"x"]}]`);
    }
});

test('event names', { kinds: RAW }, async t => {
    const raw = await t.raw();

    await raw.join();
    for (const name of ['"\\u0041"', '"a\\/b"', '1.0', '-0',
                        '12345678901234567890']) {
        raw.send(`2[${name},1]`);
        same(await raw.next(), `2[${name},1]`);
    }
});
