#!/usr/bin/python3
"""events.py - atlas_events with psycopg2: submits an event with an idempotency
key, reads a timeline, and handles each kind of refusal.

The connection is that of the environment (PGHOST, PGDATABASE and so on), the
tenant is TENANT."""

import contextlib
import json
import os
import sys
import uuid

import psycopg2

ATTEMPTS = 3
CUSTOMER = 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e'
TENANT = os.environ.get('TENANT', '')


def in_transaction(work):
    """Returns what work(cursor) returns, which runs in a transaction of the tenant.

    If the connection is lost, even during the commit, nobody knows whether the
    event was stored. All of it is done again then, on a new connection: with
    its idempotency key the event is stored once. OperationalError also covers
    a server that restarts, deadlocks, and a lack of resources."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            # From right to left, the end of this block closes the cursor, commits, and disconnects.
            with contextlib.closing(psycopg2.connect('')) as connection, connection, connection.cursor() as cursor:
                # This is SET LOCAL with a parameter: the next user of the connection has no tenant.
                cursor.execute("SELECT set_config('atlas_events.tenant', %s, true)", [TENANT])
                return work(cursor)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if attempt == ATTEMPTS:
                raise
            print(f'trying again: {error}', file=sys.stderr)


def submit(event):
    """Submits an event, and says what became of it."""
    def work(cursor):
        cursor.execute('SELECT submit_event(%s)', [json.dumps(event)])
        return cursor.fetchone()[0]

    try:
        receipt = in_transaction(work)
        print('stored before' if receipt['duplicate'] else 'stored', receipt['eventId'])
    except psycopg2.DatabaseError as error:
        handle(error)


def handle(error):
    """What to do about an event that was refused. DETAIL says why, of PT400 as a JSON array of all problems."""
    detail = error.diag.message_detail
    if error.pgcode == 'PT400':
        print('PT400, correct the event:')
        for problem in json.loads(detail):
            print(f"  {problem['field']} {problem['code']}: {problem['message']}")
    elif error.pgcode == 'PT404':
        print(f'PT404, submit it again once the object exists: {detail}')
    elif error.pgcode == 'PT409':
        print(f'PT409, do not repeat it: {detail}')
    elif error.pgcode == 'PT413':
        print(f'PT413, shorten it: {detail}')
    else:
        raise error


def timeline(object_type, object_id, max_events):
    """The newest events of an object."""
    def work(cursor):
        cursor.execute('SELECT role, event_id, name FROM atlas_timeline(%s, %s, max_events => %s)',
                       [object_type, object_id, max_events])
        return cursor.fetchall()

    return in_transaction(work)


# The key is made of what the event is about, so that it is the same whenever
# and wherever this event is submitted again.
order = str(uuid.uuid4())
shipped = {
    'objectType': 'CUSTOMER', 'externalId': '195959', 'name': 'Order Shipped',
    'payload': {'order': order, 'carrier': 'DHL'},
    'relatedObjects': [{'objectType': 'TICKET', 'objectId': '19734'}],
    'idempotencyKey': f'order-{order}-shipped',
}
refused = {'objectType': 'CUSTOMER', 'externalId': '195959', 'name': 'Order Refused'}

submit(shipped)
submit(shipped)
for role, event_id, name in timeline('CUSTOMER', CUSTOMER, 5):
    print(role, event_id, name)

submit({**refused, 'name': None, 'icon': 'ab'})
submit({**refused, 'externalId': '0'})
submit({**shipped, 'payload': {'order': order, 'carrier': 'UPS'}})
submit({**refused, 'description': 'x' * 300000})
