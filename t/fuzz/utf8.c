/*
 * sio_utf8 against a decoder that does it by arithmetic, whole and cut at
 * every place and in pieces.
 */

#include "proto/sio_utf8.h"
#include "fuzz.h"


/*
 * Returns SIO_OK, SIO_EUTF8, or SIO_AGAIN if p is cut within a character
 * that may still become valid: tried by completing it.
 */

static sio_rc_t
reference(const uint8_t *p, size_t n)
{
    static const uint32_t  least[] = { 0, 0, 0x80, 0x800, 0x10000 };

    size_t    i, len;
    uint32_t  low, high;

    for ( /* void */ ; n != 0; p += len, n -= len) {

        if (p[0] < 0x80) {
            len = 1;
            continue;
        }

        len = p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3
              : p[0] < 0xf8 ? 4 : 0;

        if (len == 0) {
            return SIO_EUTF8;
        }

        low = high = p[0] & (0x7f >> len);

        for (i = 1; i < len; i++) {
            if (i < n && (p[i] & 0xc0) != 0x80) {
                return SIO_EUTF8;
            }

            low = low << 6 | (i < n ? p[i] & 0x3f : 0);
            high = high << 6 | (i < n ? p[i] & 0x3f : 0x3f);
        }

        /* the values from low to high are still possible */

        if (high < least[len] || low > 0x10ffff
            || (low >= 0xd800 && high <= 0xdfff))
        {
            return SIO_EUTF8;
        }

        if (len > n) {
            return SIO_AGAIN;
        }
    }

    return SIO_OK;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t       i, n, step;
    uint8_t     *head, *tail;
    sio_rc_t     want, rc;
    sio_utf8_t   u;

    want = reference(data, size);
    CHECK(sio_utf8_valid(data, size) == (want == SIO_OK));

    for (i = 0; i <= size && i <= 64; i++) {
        head = fuzz_copy(data, i);
        tail = fuzz_copy(data + i, size - i);

        memset(&u, 0, sizeof(u));
        rc = sio_utf8_check(&u, head, i);
        CHECK(rc == reference(data, i));

        if (rc != SIO_EUTF8) {
            rc = sio_utf8_check(&u, tail, size - i);
        }

        CHECK(rc == want);

        fuzz_free(head, i);
        fuzz_free(tail, size - i);
    }

    for (step = 1; step <= 9; step += 2) {
        memset(&u, 0, sizeof(u));
        rc = SIO_OK;

        for (i = 0; i < size && rc != SIO_EUTF8; i += n) {
            n = size - i < step ? size - i : step;
            rc = sio_utf8_check(&u, data + i, n);
            CHECK(rc == reference(data, i + n));
        }

        CHECK(rc == want);
    }

    return 0;
}
