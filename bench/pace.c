/* The reference of the pacing rows of `hil bench`: the least that a paced sender in C does.
 *
 * pace INTERFACE FRAME_IN_HEX COUNT INTERVAL_NS SPIN_NS REAL_TIME
 *
 * The same rule as the sender of hil: an absolute schedule on CLOCK_MONOTONIC, sleep until SPIN_NS
 * before a slot, spin away the rest, send(2) on a packet socket, skip nothing. Built by the bench
 * with the compiler of the host; no part of the product.
 */
#include <net/if.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int count, char **words) {
    if (count != 7) return 2;
    unsigned char frame[2048];
    size_t length = strlen(words[2]) / 2;
    if (length > sizeof frame) return 2;
    for (size_t i = 0; i < length; i++) sscanf(words[2] + 2 * i, "%2hhx", &frame[i]);
    long packets = atol(words[3]);
    int64_t interval = atoll(words[4]), spin = atoll(words[5]);
    struct sockaddr_ll here = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(words[1])};
    int sock = socket(AF_PACKET, SOCK_RAW, 0);
    if (sock < 0 || bind(sock, (struct sockaddr *)&here, sizeof here)) {
        perror("pace");
        return 1;
    }
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    setpriority(PRIO_PROCESS, 0, -15);
    struct sched_param first = {.sched_priority = 1};
    if (atoi(words[6])) sched_setscheduler(0, SCHED_FIFO, &first);
    int64_t start = now() + 100000000;
    for (long i = 0; i < packets; i++) {
        int64_t due = start + i * interval, wake = due - spin;
        if (wake > now()) {
            struct timespec t = {wake / 1000000000, wake % 1000000000};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        }
        while (now() < due) {
        }
        if (send(sock, frame, length, 0) < 0) {
            perror("pace");
            return 1;
        }
    }
    return 0;
}
