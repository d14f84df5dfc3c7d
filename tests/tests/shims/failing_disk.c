/*
 * A disk that fails: loaded into the server with LD_PRELOAD by tests/tests/faults.rs.
 *
 * From the moment that the file FAILING_DISK_STRIKE exists, the operation that FAILING_DISK_ON names, "sync" or
 * "write", fails with EIO on every journal segment; each failure is a line in the file FAILING_DISK_STRUCK. What
 * had been written and not been synced is lost with a failed sync, as with a real disk: it reads as zeros from
 * then on. Everything else goes to the system untouched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Only one thread writes to the journal. */
static off64_t unsynced_from = -1;
static off64_t unsynced_to = -1;

static int is_journal(int descriptor) {
    char link[64];
    char path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) {
        return 0;
    }
    path[length] = '\0';
    return strstr(path, "/journal-") != NULL;
}

static int fails(const char *operation) {
    const char *on = getenv("FAILING_DISK_ON");
    const char *strike = getenv("FAILING_DISK_STRIKE");
    const char *struck = getenv("FAILING_DISK_STRUCK");
    if (on == NULL || strike == NULL || struck == NULL || strcmp(on, operation) != 0
        || access(strike, F_OK) != 0) {
        return 0;
    }
    int note = open(struck, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (note < 0 || write(note, "EIO\n", 4) != 4 || close(note) != 0) {
        abort();
    }
    return 1;
}

typedef ssize_t pwrite_function(int, const void *, size_t, off64_t);
typedef int sync_function(int);

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
    pwrite_function *real = (pwrite_function *)dlsym(RTLD_NEXT, "pwrite64");
    if (!is_journal(descriptor)) {
        return real(descriptor, bytes, count, offset);
    }
    if (fails("write")) {
        errno = EIO;
        return -1;
    }
    ssize_t written = real(descriptor, bytes, count, offset);
    if (written > 0) {
        if (unsynced_from < 0 || offset < unsynced_from) {
            unsynced_from = offset;
        }
        if (offset + written > unsynced_to) {
            unsynced_to = offset + written;
        }
    }
    return written;
}

int fdatasync(int descriptor) {
    sync_function *real = (sync_function *)dlsym(RTLD_NEXT, "fdatasync");
    if (!is_journal(descriptor)) {
        return real(descriptor);
    }
    if (fails("sync")) {
        pwrite_function *write_back = (pwrite_function *)dlsym(RTLD_NEXT, "pwrite64");
        for (off64_t at = unsynced_from; at >= 0 && at < unsynced_to; at++) {
            if (write_back(descriptor, "", 1, at) != 1) {
                abort();
            }
        }
        errno = EIO;
        return -1;
    }
    int result = real(descriptor);
    if (result == 0) {
        unsynced_from = unsynced_to = -1;
    }
    return result;
}
