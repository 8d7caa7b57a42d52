/*
 * events.mjs
 *		The event of the benchmarks, as the driver and pgbench write it, and the
 *		ids of objects, as sql/objects.sql makes them.
 */
import { createHash } from 'node:crypto'

export const uuidOf = (name) => createHash('md5').update(name).digest('hex')
	.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')

/* About 250 bytes. */
export const PAYLOAD = JSON.stringify({
	orderId: 'SO-2026-104711', total: 149.9, currency: 'EUR', coupon: 'WELCOME10',
	items: [{ sku: 'TSHIRT-M-BLUE', quantity: 2, price: 49.95 }, { sku: 'MUG-ATLAS', quantity: 1, price: 50 }],
	shipping: { method: 'express', country: 'DE', city: 'Berlin' }, campaign: 'autumn-sale',
})

const ACCOUNT = { objectType: 'ACCOUNT', objectId: uuidOf('account-7') }

const FIELDS = {
	name: 'Checkout Completed', description: 'Paid with credit card', icon: '🛒', payload: JSON.parse(PAYLOAD),
	relatedObjects: [ACCOUNT],
}

/* What the scripts of pgbench refer to. */
export const variables = (customers) => ({
	customers, payload: PAYLOAD, fields: JSON.stringify(FIELDS).slice(1),
	related: `{"(ACCOUNT,${ACCOUNT.objectId},)"}`, references: JSON.stringify([ACCOUNT]),
})

/* An event with one related object. */
export const event = (customer, account) => ({
	objectType: 'CUSTOMER', objectId: uuidOf(`customer-${customer}`), ...FIELDS,
	relatedObjects: [{ objectType: 'ACCOUNT', objectId: uuidOf(`account-${account}`) }],
})
