"""Python's etcd3, unchanged, against the members in QUORATE_IT_ENDPOINTS.

Run by it/python.rs, one class at a time. Expected answers are those of etcd 3.7.
"""

import os
import queue
import time
import unittest

import etcd3
import grpc

WAIT_SECONDS = 30
ENDPOINTS = os.environ["QUORATE_IT_ENDPOINTS"].split(",")
VERSION = os.environ["QUORATE_IT_VERSION"]


def client_at(at):
    host, port = ENDPOINTS[at].split(":")
    return etcd3.client(host=host, port=int(port), timeout=WAIT_SECONDS)


class StockClient(unittest.TestCase):
    """Each test has a client of each member and keys of its own."""

    def setUp(self):
        # Never closed: etcd3's watch thread does not survive that.
        self.clients = [client_at(at) for at in range(len(ENDPOINTS))]
        self.first, self.second, self.third = self.clients
        self.p = "py/" + self.id().rsplit(".", 1)[-1] + "/"

    def values(self, answers):
        return [(meta.key.decode()[len(self.p):], value.decode()) for value, meta in answers]

    def refused(self, code, text, call, *args, **kwargs):
        """The call fails with this code and text; etcd3 wraps only some codes."""
        with self.assertRaises((grpc.RpcError, etcd3.exceptions.Etcd3Exception)) as caught:
            call(*args, **kwargs)
        error = caught.exception
        if not isinstance(error, grpc.RpcError):
            error = error.__context__
        self.assertEqual((error.code(), error.details()), (code, text))


INVALID = grpc.StatusCode.INVALID_ARGUMENT
OUT_OF_RANGE = grpc.StatusCode.OUT_OF_RANGE
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
NOT_FOUND = grpc.StatusCode.NOT_FOUND


class Kv(StockClient):
    def test_put_and_get(self):
        key = self.p + "a"
        put = self.first.put(key, "1")
        self.assertGreater(put.header.revision, 1)
        again = self.second.put(key, b"2", prev_kv=True)
        self.assertEqual(again.prev_kv.value, b"1")
        value, meta = self.third.get(key)
        self.assertEqual(value, b"2")
        self.assertEqual((meta.version, meta.lease_id), (2, 0))
        self.assertEqual(meta.create_revision, put.header.revision)
        self.assertEqual(meta.mod_revision, again.header.revision)
        self.assertEqual(self.second.get(key, serializable=True)[0], b"2")
        self.assertEqual(self.first.get(self.p + "none"), (None, None))
        self.refused(INVALID, "etcdserver: key is not provided", self.first.put, "", "v")

    def test_ranges(self):
        for key, value in [("c", "2"), ("a", "3"), ("b", "1")]:
            self.first.put(self.p + key, value)
        get = self.second.get_prefix
        everything = [("a", "3"), ("b", "1"), ("c", "2")]
        self.assertEqual(self.values(get(self.p)), everything)
        down = self.values(get(self.p, sort_order="descend"))
        self.assertEqual(down, everything[::-1])
        by_value = self.values(get(self.p, sort_order="ascend", sort_target="value"))
        self.assertEqual(by_value, [("b", "1"), ("c", "2"), ("a", "3")])
        by_creation = self.values(get(self.p, sort_order="ascend", sort_target="create"))
        self.assertEqual(by_creation, [("c", "2"), ("a", "3"), ("b", "1")])
        keys = self.values(get(self.p, keys_only=True))
        self.assertEqual(keys, [("a", ""), ("b", ""), ("c", "")])
        part = self.third.get_range(self.p + "a", self.p + "c")
        self.assertEqual(self.values(part), everything[:2])
        found = {meta.key.decode() for _, meta in self.third.get_all()}
        self.assertLessEqual({self.p + key for key in "abc"}, found)
        self.assertEqual(self.third.get_prefix_response(self.p).count, 3)

    def test_deletes(self):
        for key in "abc":
            self.first.put(self.p + key, key)
        self.assertFalse(self.second.delete(self.p + "none"))
        self.assertTrue(self.second.delete(self.p + "a"))
        gone = self.third.delete(self.p + "b", prev_kv=True, return_response=True)
        self.assertEqual((gone.deleted, gone.prev_kvs[0].value), (1, b"b"))
        self.assertEqual(self.first.delete_prefix(self.p).deleted, 1)
        self.assertEqual(list(self.first.get_prefix(self.p)), [])


class Transactions(StockClient):
    def test_compare_and_swap(self):
        key = self.p + "a"
        self.assertTrue(self.first.put_if_not_exists(key, "1"))
        self.assertFalse(self.second.put_if_not_exists(key, "2"))
        self.assertFalse(self.third.replace(key, "2", "3"))
        self.assertTrue(self.third.replace(key, "1", "3"))
        self.assertEqual(self.first.get(key)[0], b"3")

    def test_branches(self):
        t = self.first.transactions
        key, other = self.p + "a", self.p + "b"
        self.first.put(key, "1")
        compare = [t.value(key) == "1", t.version(key) > 0, t.create(other) == 0, t.mod(key) != 1]
        done, answers = self.second.transaction(
            compare=compare,
            success=[t.put(other, "2"), t.get(key), t.delete(key, prev_kv=True)],
            failure=[t.put(other, "never")])
        self.assertTrue(done)
        self.assertGreater(answers[0].response_put.header.revision, 0)
        self.assertEqual([value for value, _ in answers[1]], [b"1"])
        self.assertEqual(answers[2].response_delete_range.prev_kvs[0].value, b"1")
        done, answers = self.third.transaction(
            compare=[t.version(key) == 1], success=[], failure=[t.get(other)])
        self.assertFalse(done)
        self.assertEqual([value for value, _ in answers[0]], [b"2"])

    def test_nested(self):
        t = self.first.transactions
        key = self.p + "a"
        self.first.put(key, "1")
        inner = t.txn(compare=[t.value(key) == "1"],
                      success=[t.put(self.p + "inner", "yes"), t.delete(key)],
                      failure=[t.put(self.p + "inner", "no")])
        middle = t.txn(compare=[t.value(self.p + "outer") == "yes"],
                       success=[t.put(self.p + "middle", "yes")], failure=[inner])
        done, answers = self.second.transaction(
            compare=[t.value(key) == "1"],
            success=[t.put(self.p + "outer", "yes"), middle], failure=[])
        self.assertTrue(done)
        # The nested compare looks at the state before the put of the same transaction.
        nested = answers[1].response_txn
        self.assertFalse(nested.succeeded)
        self.assertTrue(nested.responses[0].response_txn.succeeded)
        found = self.values(self.third.get_prefix(self.p))
        self.assertEqual(found, [("inner", "yes"), ("outer", "yes")])

    def test_refusals(self):
        t = self.first.transactions
        key = self.p + "a"
        self.refused(INVALID, "etcdserver: duplicate key given in txn request",
                     self.first.transaction, [], [t.put(key, "1"), t.put(key, "2")], [])
        many = [t.put(self.p + str(n), "1") for n in range(129)]
        self.refused(INVALID, "etcdserver: too many operations in txn request",
                     self.first.transaction, [], many, [])
        self.refused(NOT_FOUND, "etcdserver: requested lease not found",
                     self.first.transaction, [], [t.put(key, "1", lease=1)], [])
        self.assertEqual(list(self.first.get_prefix(self.p)), [])


class Watch(StockClient):
    def next(self, responses):
        return responses.get(timeout=WAIT_SECONDS)

    def watch(self, client, key, **options):
        """A queue of (kind, key, value, value before) and the watch's id."""
        told = queue.Queue()

        def tell(response):
            if isinstance(response, Exception):
                return told.put(response)
            for event in response.events:
                kind = "put" if isinstance(event, etcd3.events.PutEvent) else "delete"
                key = event.key.decode()[len(self.p):]
                told.put((kind, key, event.value.decode(), event.prev_value.decode()))

        return told, client.add_watch_prefix_callback(key, tell, **options)

    def test_live_with_previous_values(self):
        told, _ = self.watch(self.second, self.p, prev_kv=True)
        self.first.put(self.p + "a", "1")
        self.first.put(self.p + "a", "2")
        self.third.delete(self.p + "a")
        self.assertEqual(self.next(told), ("put", "a", "1", ""))
        self.assertEqual(self.next(told), ("put", "a", "2", "1"))
        self.assertEqual(self.next(told), ("delete", "a", "", "2"))

    def test_from_a_revision(self):
        start = self.first.put(self.p + "a", "1").header.revision
        self.first.put(self.p + "b", "2")
        self.first.delete(self.p + "a")
        self.second.get(self.p)  # a linearizable read: the second member is up to date
        told, _ = self.watch(self.second, self.p, start_revision=start)
        self.assertEqual(self.next(told), ("put", "a", "1", ""))
        self.assertEqual(self.next(told), ("put", "b", "2", ""))
        self.assertEqual(self.next(told), ("delete", "a", "", ""))

    def test_cancel_ends_one_watch_only(self):
        told, first = self.watch(self.first, self.p + "a")
        other, _ = self.watch(self.first, self.p + "b")
        self.first.put(self.p + "a", "1")
        self.assertEqual(self.next(told)[1], "a")
        self.first.cancel_watch(first)
        self.first.put(self.p + "a", "2")
        self.first.put(self.p + "b", "3")
        self.assertEqual(self.next(other), ("put", "b", "3", ""))
        self.assertTrue(told.empty())

    def test_iterator(self):
        events, cancel = self.third.watch_prefix(self.p)
        self.first.put(self.p + "a", "1")
        self.assertEqual(next(events).value, b"1")
        cancel()
        self.assertEqual(list(events), [])


class Lease(StockClient):
    def test_lifecycle(self):
        lease = self.first.lease(600)
        self.assertEqual(lease.ttl, 600)
        self.second.put(self.p + "a", "1", lease=lease)
        self.assertEqual(self.third.get(self.p + "a")[1].lease_id, lease.id)
        info = self.third.get_lease_info(lease.id)
        self.assertEqual((info.grantedTTL, list(info.keys)), (600, [(self.p + "a").encode()]))
        self.assertTrue(500 < info.TTL <= 600, info)
        self.assertEqual([answer.TTL for answer in lease.refresh()], [600])
        lease.revoke()
        self.assertEqual(self.first.get(self.p + "a"), (None, None))
        self.assertEqual(self.first.get_lease_info(lease.id).TTL, -1)
        self.assertEqual([answer.TTL for answer in lease.refresh()], [0])
        self.refused(NOT_FOUND, "etcdserver: requested lease not found", lease.revoke)
        self.refused(NOT_FOUND, "etcdserver: requested lease not found",
                     self.first.put, self.p + "a", "1", lease=lease)

    def test_own_id(self):
        lease = self.first.lease(600, lease_id=515151)
        self.assertEqual(lease.id, 515151)
        with self.assertRaises(etcd3.exceptions.PreconditionFailedError):
            self.second.lease(600, lease_id=515151)
        lease.revoke()

    def test_expiry(self):
        # Long enough for a busy machine to attach a key before it ends.
        lease = self.first.lease(6)
        self.first.put(self.p + "a", "1", lease=lease)
        end = time.monotonic() + WAIT_SECONDS
        while self.first.get(self.p + "a")[0] is not None:
            self.assertLess(time.monotonic(), end, "the key outlived its lease")
            time.sleep(0.05)
        self.assertEqual(lease.remaining_ttl, -1)

    def test_lock(self):
        with self.first.lock(self.p, ttl=60) as lock:
            self.assertTrue(lock.is_acquired())
            self.assertEqual([answer.TTL for answer in lock.refresh()], [60])
            self.assertIsNotNone(self.second.get(lock.key)[0])
        self.assertFalse(lock.is_acquired())


class Admin(StockClient):
    """Has a cluster of its own: it compacts."""

    def test_maintenance(self):
        first = self.first.put(self.p + "a", "1").header.revision
        for n in range(5):
            last = self.first.put(self.p + "a", str(n)).header.revision
        hashes = set()
        for client in self.clients:
            client.get(self.p)  # a linearizable read: this member is up to date
            hashes.add(client.hash())
            status = client.status()
            self.assertEqual(status.version, VERSION)
            self.assertIn(status.leader.name, ["n1", "n2", "n3"])
            self.assertGreater(status.db_size, 0)
            self.assertGreater(status.raft_index, 0)
            client.defragment()
            names = sorted(member.name for member in client.members)
            self.assertEqual(names, ["n1", "n2", "n3"])
        self.assertEqual(len(hashes), 1)
        self.first.compact(last - 1)
        text = "etcdserver: mvcc: required revision has been compacted"
        self.refused(OUT_OF_RANGE, text, self.first.compact, last - 1)
        text = "etcdserver: mvcc: required revision is a future revision"
        self.refused(OUT_OF_RANGE, text, self.second.compact, last + 10, physical=True)
        told = queue.Queue()
        self.first.add_watch_callback(self.p + "a", told.put, start_revision=first)
        error = told.get(timeout=WAIT_SECONDS)
        self.assertIsInstance(error, etcd3.exceptions.RevisionCompactedError)
        self.assertEqual(error.compacted_revision, last - 1)

    def test_alarms(self):
        member = next(iter(self.first.members))
        raised = self.first.create_alarm(member_id=member.id)
        found = [(alarm.member_id, alarm.alarm_type) for alarm in raised]
        self.assertEqual(found, [(member.id, 1)])
        self.assertEqual([alarm.member_id for alarm in self.second.list_alarms()], [member.id])
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED,
                     "etcdserver: mvcc: database space exceeded", self.third.put, self.p + "a", "1")
        self.first.disarm_alarm(member_id=member.id)
        self.assertEqual(list(self.second.list_alarms()), [])
        self.third.put(self.p + "a", "1")

    def test_a_member_that_is_unknown(self):
        text = "etcdserver: member not found"
        for call, args in [
            (self.first.remove_member, [1]),
            (self.first.update_member, [1, ["http://127.0.0.1:1"]]),
        ]:
            self.refused(grpc.StatusCode.NOT_FOUND, text, call, *args)

    @unittest.skipIf(VERSION == "3.7.2", "etcd itself has these")
    def test_what_is_not_there_yet(self):
        text = "unknown method Snapshot for service etcdserverpb.Maintenance"
        self.refused(UNIMPLEMENTED, text, self.first.snapshot, None)


if __name__ == "__main__":
    unittest.main()
