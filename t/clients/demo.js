'use strict';

/*
 * Two people meet in the demo's page, each in a headless Chromium of its own:
 * ann may use what she likes, bob is held to polling.  Prints TAP.
 *
 *     node demo.js URL
 *
 * With DEMO_SHOTS=DIR in the environment it leaves pictures of the page there.
 */

const assert = require('assert');
const { chromium } = require('playwright-core');

const [, , BASE] = process.argv;
const SHOTS = process.env.DEMO_SHOTS;
const DEADLINE = process.env.NGX_SIO_ASAN ? 60000 : 15000;

const FLAGS = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
    '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
];

const WIDE = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 780 };

const HOSTILE = '<img src=x onerror="document.title=1"><b>"&amp;\u202e';

const complaints = [];


async function open(query, options = {}, prepare = () => {}) {
    const browser = await chromium.launch({
        executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
        args: FLAGS,
    });
    const page = await browser.newPage({ viewport: WIDE, ...options });

    page.setDefaultTimeout(DEADLINE);
    page.on('pageerror', error => complaints.push(`${query}: ${error}`));
    page.on('console', message => {
        if (['error', 'warning'].includes(message.type())) {
            complaints.push(`${query}: ${message.text()}`);
        }
    });
    page.on('request', request => {
        if (!request.url().startsWith(BASE)
            && !/^(blob|data):/.test(request.url()))
        {
            complaints.push(`${query}: request to ${request.url()}`);
        }
    });

    /* what pictures are made of, to compare the bytes */
    await page.addInitScript(() => {
        const make = URL.createObjectURL;

        window.blobs = [];
        URL.createObjectURL = blob => {
            window.blobs.push(blob);
            return make.call(URL, blob);
        };
    });

    await prepare(page);
    await page.goto(`${BASE}/?${query}`);
    return page;
}

/* waits until the text of what is shown at the selector is as wanted */
async function text(page, selector, wanted) {
    const place = page.locator(selector).last();
    const end = Date.now() + DEADLINE;
    let seen;

    while (Date.now() < end) {
        seen = await place.count() ? await place.innerText() : undefined;

        if (wanted instanceof RegExp ? wanted.test(seen) : wanted === seen) {
            return seen;
        }

        await new Promise(done => setTimeout(done, 30));
    }

    assert.fail(`${selector} is ${JSON.stringify(seen)}, not ${wanted}`);
}

async function say(page, words) {
    await page.fill('#text', words);
    await page.press('#text', 'Enter');
}

const people = page => page.$$eval('#people bdi',
                                   list => list.map(e => e.textContent).sort());

async function here(page, ...names) {
    await page.waitForFunction(
        wanted => [...document.querySelectorAll('#people bdi')]
                  .map(e => e.textContent).sort().join() === wanted,
        names.sort().join()).catch(async () => assert.fail(
            `here: ${await people(page)}, not ${names}`));
}

const LAST = '.log:not([hidden]) .message:last-of-type';

/* a picture of some size, painted by the page itself */
function paint(page, width, height, type) {
    return page.evaluate(async ([width, height, type]) => {
        const canvas = document.createElement('canvas');
        const context = canvas.getContext('2d');
        const sky = context.createLinearGradient(0, 0, 0, height);

        canvas.width = width;
        canvas.height = height;
        sky.addColorStop(0, '#274c77');
        sky.addColorStop(0.6, '#e9a178');
        sky.addColorStop(1, '#f4d6a0');
        context.fillStyle = sky;
        context.fillRect(0, 0, width, height);

        for (let hill = 0; hill < 4; hill++) {
            context.fillStyle = ['#5b6c8f', '#435478', '#2d3d5c',
                                 '#18243d'][hill];
            context.beginPath();
            context.moveTo(0, height);

            for (let x = 0; x <= width; x += width / 60) {
                context.lineTo(x, height * (0.5 + hill * 0.11
                    + 0.06 * Math.sin(hill * 2 + x / width * (9 - hill))));
            }

            context.lineTo(width, height);
            context.fill();
        }

        const url = canvas.toDataURL(type);
        return url.slice(url.indexOf(',') + 1);
    }, [width, height, type]).then(base64 => Buffer.from(base64, 'base64'));
}

async function shot(page, name) {
    if (SHOTS) {
        await page.screenshot({ path: `${SHOTS}/${name}.png`,
                                animations: 'disabled' });
    }
}


let ann, bob, carl;

const steps = {
    async 'ann gets a WebSocket, and sees the change'() {
        ann = await open('name=ann&room=general');
        await ann.waitForSelector('#transport[data-transport=websocket]');
        await text(ann, '.note.upgrade',
                   /^Long-polling became a WebSocket after \d+ ms$/);
        await ann.waitForSelector('#path.upgraded [data-step=websocket].on');
        await text(ann, '#rtt', /^\d+\.\d ms$/);
        await text(ann, '#room-count', 'only you are here');
    },

    async 'a WebSocket that is faster than the connect is seen, too'() {
        const dan = await open('name=dan&room=random', {}, async page => {
            const probed = new Promise(done => page.on('websocket', ws =>
                ws.on('framereceived',
                      ({ payload }) => payload === '3probe' && done())));

            await page.route('**/socket.io/**', async route => {
                if (route.request().method() === 'POST') {
                    await probed;
                }
                await route.continue();
            });
        });

        await text(dan, '.note.upgrade',
                   /^Long-polling became a WebSocket after \d+ ms$/);
        await text(dan, '#room-count', 'only you are here');
        await dan.context().browser().close();
    },

    async 'bob is held to polling'() {
        bob = await open('name=bob&room=general&transport=polling');
        await bob.waitForSelector('#transport[data-transport=polling]');
        await text(bob, '#rtt', /^\d+\.\d ms$/);
        await text(ann, '.note', 'bob came in');
    },

    async 'each sees who is here'() {
        await here(ann, 'ann', 'bob');
        await here(bob, 'ann', 'bob');
        await text(bob, '#room-count', '2 people here');
    },

    async 'text goes both ways, once, in one order'() {
        await say(ann, 'Hello bob');
        await text(bob, `${LAST} .text`, 'Hello bob');
        await text(bob, `${LAST} .by bdi`, 'ann');
        await say(bob, 'Hello ann');
        await text(ann, `${LAST} .text`, 'Hello ann');

        for (let i = 1; i <= 10; i++) {
            await say(i % 2 ? ann : bob, `${i} of ten`);
        }

        for (const page of [ann, bob]) {
            await page.waitForFunction(() =>
                document.querySelectorAll('.message:not(.pending)').length
                === 12);
        }

        const [a, b] = await Promise.all([ann, bob].map(page =>
            page.$$eval('.message .text', all => all.map(e => e.textContent))));

        assert.deepStrictEqual(a, b);
    },

    async 'a typing notice comes and goes'() {
        await ann.locator('#text').pressSequentially('thinking');
        await bob.waitForSelector('#typing.on');
        await text(bob, '#typing-text', 'ann is typing');
        await ann.fill('#text', '');
        await bob.waitForSelector('#typing:not(.on)');
        await bob.locator('#text').pressSequentially('hm');
        await ann.waitForSelector('#typing.on');
        await say(bob, 'hm');
        await ann.waitForSelector('#typing:not(.on)');
    },

    async 'a picture goes to a poller and is acknowledged'() {
        const png = await paint(ann, 640, 400, 'image/png');

        await ann.setInputFiles('#file', { name: 'hills.png', buffer: png,
                                           mimeType: 'image/png' });
        await bob.waitForFunction(() =>
            document.querySelector('.picture img')?.naturalWidth === 640);
        await text(ann, `${LAST} .state`,
                   /^✓ passed on by nginx · \d+ KB · \d+ ms$/);

        const got = await bob.evaluate(async () => {
            const bytes = new Uint8Array(await blobs.at(-1).arrayBuffer());

            return btoa(Array.from(bytes, b => String.fromCharCode(b))
                             .join(''));
        });

        assert.ok(Buffer.from(got, 'base64').equals(png), 'the same bytes');
    },

    async 'a large photograph from a poller is made smaller'() {
        const jpeg = await paint(bob, 3000, 2000, 'image/jpeg');

        await bob.setInputFiles('#file', { name: 'photo.jpg', buffer: jpeg,
                                           mimeType: 'image/jpeg' });
        await ann.waitForFunction(() =>
            [...document.querySelectorAll('.picture img')]
            .some(i => i.naturalWidth === 1600));
        await text(bob, `${LAST} .state`, /^✓ passed on by nginx/);
        await shot(ann, 'wide');
        await ann.click(`${LAST} .picture button`);
        await ann.waitForSelector('#viewer[open]');
        await ann.keyboard.press('Escape');
        await ann.waitForSelector('#viewer[open]', { state: 'hidden' });
    },

    async 'what is no picture is not sent'() {
        await bob.setInputFiles('#file', {
            name: 'x.png', mimeType: 'image/png',
            buffer: Buffer.from('<svg onload="alert(1)"/>'),
        });
        await text(bob, '.log:not([hidden]) .note',
                   'This file is no picture that can be sent.');
    },

    async 'markup stays text'() {
        await say(ann, HOSTILE);
        await text(bob, `${LAST} .text`, HOSTILE);
        await say(bob, 'see https://example.com/a?b=1, ok');
        await text(ann, `${LAST} .text a`, 'https://example.com/a?b=1');
        assert.strictEqual(await bob.locator('.text b, .text img').count(), 0);
    },

    async 'rooms are apart'() {
        await ann.click('[data-room=random]');
        await text(ann, '#room-title', 'random');
        await here(ann, 'ann');
        await say(ann, 'Nobody hears this');
        await ann.waitForSelector(`${LAST}:not(.pending)`);
        await say(bob, 'ann?');
        await text(ann, '[data-room=general] .badge', '1');
        await ann.click('[data-room=general]');
        await text(ann, `${LAST} .text`, 'ann?');
        await ann.waitForSelector('.badge', { state: 'detached' });
        assert.ok(!(await bob.innerText('#logs')).includes('Nobody'));
    },

    async 'a new room, left again'() {
        for (const page of [ann, bob]) {
            await page.fill('#new-room-name', 'Café Zoë');
            await page.press('#new-room-name', 'Enter');
            await text(page, '#room-title', 'café-zoë');
        }

        await here(ann, 'ann', 'bob');
        await here(bob, 'ann', 'bob');
        await bob.click('[aria-label="Leave café-zoë"]');
        await text(bob, '#room-title', 'general');
        await text(ann, '.log:not([hidden]) .note', 'bob left');
        await here(ann, 'ann');
        await ann.click('[data-room=general]');
        await here(ann, 'ann', 'bob');
    },

    async 'a non-member speaks to no room, nobody in the name of others'() {
        const answer = await bob.evaluate(() => new Promise(done => {
            const raw = window.mallory = io({
                forceNew: true, transports: ['websocket'],
                query: { name: 'mallory' },
            });

            raw.emit('message', 'general', 'spoken from outside', 'm');
            raw.emit('typing', 'general', true);
            raw.emit('joined', 'x', 'ghost', 'general');
            raw.emit('gone', 'x', 'transport close');
            raw.emit('join', 'general');
            raw.on('message', (...args) => done([raw.id, args]));
            raw.on('joined', () => raw.emit('message', 'general', 'inside',
                                            'm', 'forged'));
        }));
        const [id, args] = answer;

        assert.deepStrictEqual(args, [id, 'mallory', 'general', 'inside', 'm']);
        await text(ann, `${LAST} .text`, 'inside');
        assert.ok(!(await ann.innerText('#logs')).match(/outside|ghost/));
        await here(ann, 'ann', 'bob', 'mallory');
        await bob.evaluate(() => mallory.disconnect());
        await here(ann, 'ann', 'bob');
        await here(bob, 'ann', 'bob');
    },

    async 'a new name, with all that a name may hold'() {
        await ann.fill('#me-name', 'Zoë <b>"% \\ 🦊');
        await ann.press('#me-name', 'Enter');
        await here(bob, 'Zoë <b>"% \\ 🦊', 'bob');
        await ann.waitForSelector('#transport[data-transport=websocket]');
        await here(ann, 'Zoë <b>"% \\ 🦊', 'bob');
        await say(ann, 'My name changed');
        await text(bob, `${LAST} .by bdi`, 'Zoë <b>"% \\ 🦊');
    },

    async 'a lost connection comes back, into the same rooms'() {
        await bob.evaluate(() => socket.io.engine.close());
        await bob.waitForSelector('#banner:not([hidden])');
        await text(ann, '.log:not([hidden]) .note', 'bob came in');
        await here(bob, 'Zoë <b>"% \\ 🦊', 'bob');
        await bob.waitForSelector('#banner', { state: 'hidden' });
        await say(bob, 'Back again');
        await text(ann, `${LAST} .text`, 'Back again');
    },

    async 'a phone, in the dark, by WebSocket only'() {
        carl = await open('name=carl&room=general&transport=websocket', {
            viewport: PHONE, colorScheme: 'dark', hasTouch: true,
            isMobile: true, deviceScaleFactor: 2,
        });
        await carl.waitForSelector('#transport[data-transport=websocket]');
        await text(carl, '#room-count', '3 people here');
        await say(ann, 'Welcome, carl');
        await text(carl, `${LAST} .text`, 'Welcome, carl');
        await say(carl, 'Hello from the phone');
        await text(bob, `${LAST} .text`, 'Hello from the phone');

        const wider = await carl.evaluate(() =>
            document.documentElement.scrollWidth - innerWidth);

        assert.strictEqual(wider, 0, 'nothing is wider than the phone');
        await shot(carl, 'phone-dark');
        await carl.click('[data-open=side]');
        await carl.waitForSelector('.side.open');
        await shot(carl, 'phone-rooms-dark');
        await carl.click('[data-room=random]');
        await here(carl, 'Zoë <b>"% \\ 🦊', 'carl');
        await shot(bob, 'polling');
    },

    async 'who closes the page has gone'() {
        await carl.close();
        await text(ann, '.log:not([hidden]) .note', 'carl went away');
    },

    async 'the console is clean'() {
        assert.deepStrictEqual(complaints, []);
    },
};


async function main() {
    const names = Object.keys(steps);

    console.log(`1..${names.length}`);

    for (const [i, name] of names.entries()) {
        try {
            await steps[name]();
            console.log(`ok ${i + 1} - ${name}`);

        } catch (error) {
            console.log(`not ok ${i + 1} - ${name}`);
            console.log([error.stack, ...complaints].join('\n')
                        .replace(/^/gm, '# '));
            process.exitCode = 1;

            /* each step builds on those before it */
            break;
        }
    }

    for (const [name, page] of Object.entries({ ann, bob, carl })) {
        if (process.exitCode && page && !page.isClosed()) {
            await shot(page, `failed-${name}`);
        }

        await page?.context().browser().close();
    }
}

main().catch(error => {
    console.log(`Bail out! ${error.stack}`);
    process.exit(1);
});
