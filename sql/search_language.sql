-- The language of atlas_search_events(): what each form finds, and that any text is a query.
SET client_min_messages = warning;
SET timezone = 'UTC';
SELECT test.clean();

SELECT count(submit_event(type, id, name, description, payload => payload::jsonb, occurred_at => '2025-03-01 08:00'))
  FROM (VALUES
    ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'Checkout Failed', 'The card was <b>declined</b> &amp; the cart is kept',
     '{"order": {"id": "ORD-4711", "amount": 50.0}, "method": "visa", "retry": true, "city": "New York", "note": null}'),
    ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'Checkout Completed', 'Nothing failed here',
     '{"order": {"id": "ORD/4711", "amount": 500}, "method": "paypal", "retry": false, "city": "York"}'),
    ('CUSTOMER', 'c2222222-0000-4000-8000-000000000002', 'Refund Requested', 'See https://shop.example.com/help/refund?step=2',
     '{"reference": "#4711", "email": "priya.whitfield@example.com", "Order No": 4711, "tags": ["vip", "late delivery"], "amount": 5e1}'),
    ('CONVERSATION', '1', 'checkout.failed', NULL,
     '{"name": "Priya Whitfield", "type": "chat", "failed": 3, "say": "he said \"no\"", "serial": "X12Y"}'),
    ('CONVERSATION', '2', '返金のお知らせ', 'お客様に返金されました。',
     '{"理由": "配送の遅れ", "第": "第3回"}'),
    ('COMPANY', 'acme', 'CAFÉ opened', 'Zoë and her crêpes',
     '{"level": -5, "ratio": "12:30", "call": "std::map", "flag": "--force", "screen": "5\" wide", "empty": "", "stars": "***"}'),
    ('USER', '7', 'Failed to check in', 'Checkout was closed, it failed',
     '{"a": {"b": {"c": "deep"}}, "error": {"code": "E:12"}, "payload": {"k": "v"}}')) v (type, id, name, description, payload);

SELECT test.index();

CREATE FUNCTION pg_temp.found(query text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(name, ', ' ORDER BY name COLLATE "C") FROM atlas_search_events(query)
$$;
\pset null '(nothing)'

-- Words, all of them, wherever they stand; case and marks do not count.
SELECT query, pg_temp.found(query) FROM (VALUES
    ('failed'), ('FAILED checkout'), ('checkout declined visa'), ('cafe'), ('CAFÉ'), ('zoe crepes'), ('nowhere'), ('failed nowhere')) v (query);

-- Parts of what is written as one word.
SELECT query, pg_temp.found(query) FROM (VALUES
    ('4711'), ('ORD-4711'), ('ord/4711'), ('#4711'), ('priya'), ('whitfield@example.com'), ('priya.whitfield@example.com'),
    ('refund'), ('https://shop.example.com/help/refund'), ('shop.example.com'), ('checkout.failed'), ('checkout-failed'),
    ('x12y'), ('x'), ('12'), ('x-12-y'), ('amp'), ('b')) v (query);

-- Phrases.
SELECT query, pg_temp.found(query) FROM (VALUES
    ('"checkout failed"'), ('"failed checkout"'), ('"the cart is kept"'), ('"new york"'), ('"card declined"'), ('"declined & the"'),
    ('“checkout failed”'), ('"visa new"'), ('"failed the card"'), ('""')) v (query);

-- Exclusion.
SELECT query, pg_temp.found(query) FROM (VALUES
    ('checkout -completed'), ('checkout -"checkout failed"'), ('checkout -method:visa'), ('-checkout'), ('-checkout -refund'),
    ('checkout -type:customer'), ('checkout -name:"Checkout Failed"'), ('checkout -fail*')) v (query);

-- One of two; OR binds closer than blanks do.
SELECT query, pg_temp.found(query) FROM (VALUES
    ('visa OR paypal'), ('visa OR paypal failed'), ('checkout visa OR paypal OR nowhere'), ('refund OR method:visa'), ('refund OR -checkout'),
    ('"new york" OR cafe'), ('visa or paypal'), ('visa OR'), ('OR visa'), ('OR'), ('(visa OR paypal) completed')) v (query);

-- Beginnings.
SELECT query, pg_temp.found(query) FROM (VALUES
    ('check*'), ('whit*'), ('47*'), ('x1*'), ('ord-47*'), ('"checkout fa*"'), ('"checkout co*"'), ('che*out'), ('*out'), ('nowh*')) v (query);

-- Values, exactly: the last key or the dotted path.
SELECT query, pg_temp.found(query) FROM (VALUES
    ('amount:50'), ('amount:50.0'), ('amount:5e1'), ('amount:500'), ('order.amount:50'), ('payload.order.amount:50'), ('amount:5'), ('id:ORD-4711'),
    ('id:ord-4711'), ('id:4711'), ('method:VISA'), ('retry:true'), ('retry:false'), ('note:null'), ('city:"New York"'), ('city:york'), ('tags:vip'),
    ('tags:"late delivery"'), ('tags:late'), ('"Order No":4711'), ('say:"he said ""no"""'), ('a.b.c:deep'), ('b.c:deep'), ('c:deep'), ('level:-5'),
    ('code:E:12'), ('payload:v'), ('k:v'), ('payload.payload.k:v'), ('stars:***'), ('理由:配送の遅れ'), ('city:nowhere'), ('nokey:visa')) v (query);

-- Name and type of the event, and keys of the payload that are called so.
SELECT query, pg_temp.found(query) FROM (VALUES
    ('name:"Checkout Failed"'), ('name:"checkout failed"'), ('name:checkout.failed'), ('name:checkout'), ('name:"CAFE opened"'),
    ('payload.name:"Priya Whitfield"'), ('name:"Priya Whitfield"'), ('type:customer'), ('type:CONVERSATION'), ('type:ticket'), ('type:agent'),
    ('type:"USER (AGENT)"'), ('type:chat'), ('payload.type:chat'), ('type:customer checkout'), ('type:nothing')) v (query);

-- Scripts without blanks.
SELECT query, pg_temp.found(query) FROM (VALUES
    ('返金'), ('返金されました'), ('返'), ('た'), ('返金*'), ('お客様 返金'), ('お客様　返金'), ('金返'), ('返れ'), ('第3回'), ('3'), ('遅れ'),
    ('"お客様に返金"'), ('-返金 type:conversation')) v (query);

-- What cannot be understood is searched as words.
SELECT query, pg_temp.found(query) FROM (VALUES
    ('amount:'), ('failed:'), (':failed'), ('12:30'), ('std::map'), ('--force'), ('-'), ('- visa'), ('*'), ('visa *'), ('"checkout failed'),
    ('5" wide'), ('city:"New York'), ('checkout"failed"'), ('checkout (failed)'), ('visa -'), ('""visa""'), ('visa!'), ('& | ! <->'), (':'), ('":"'),
    ('\'), ('''visa'''), ('visa & paypal'), ('!visa'), ('visa:*'), ('empty:""')) v (query);

-- A query without terms is satisfied by every event.
SELECT query, (SELECT count(*) FROM atlas_search_events(query)) FROM (VALUES (''), ('   '), ('***'), ('-'), ('()'), ('""')) v (query);

-- Terms beyond 64 are left out, with a notice.
SET client_min_messages = notice;
SELECT pg_temp.found(repeat('visa ', 64));
SELECT pg_temp.found(repeat('visa ', 64) || 'nowhere nowhere');
SELECT pg_temp.found('visa -"' || repeat('visa ', 64) || '"');
SELECT pg_temp.found('"checkout failed ' || repeat('nowhere ', 63) || '"');
SET client_min_messages = warning;

-- Headlines mark whole words, of terms that are not excluded. Everything else is escaped.
\pset format unaligned
\pset tuples_only on
SELECT asked, name, headline FROM (VALUES
    ('checkout fail* -paypal'), ('4711'), ('new york'), ('declined cart'), ('priya'), ('x12y'), ('返金され'), ('第'), ('zoe crepes'), ('wide'),
    ('visa OR paypal'), ('method:visa'), ('type:company'), ('-checkout'), ('')) v (asked),
    LATERAL (SELECT name, headline FROM atlas_search_events(asked)) e
 ORDER BY asked COLLATE "C", name COLLATE "C";
SELECT submit_event('COMPANY', 'acme', 'Long', repeat('before & ', 40) || '<b>needle</b> <script>alert("x")</script> ' || repeat('after ''it'' ', 40))
    IS NOT NULL;
SELECT submit_event('COMPANY', 'acme', 'No blanks', repeat('前', 300) || 'needle' || repeat('後', 300)) IS NOT NULL;
SELECT submit_event('COMPANY', 'acme', 'One word', 'needle' || repeat('s', 3000)) IS NOT NULL;
SELECT submit_event('COMPANY', 'acme', 'Best place', repeat('needle and ', 30) || 'the needle in the haystack ' || repeat('and needle ', 30)) IS NOT NULL;
SELECT submit_event('COMPANY', 'acme', 'Payload', payload => '{"items": ["a <needle>", "b"], "o": {"needle": "needles", "n": 5}}') IS NOT NULL;
SELECT submit_event('COMPANY', 'acme', 'Tag first', '<p> <b>needle</b>') IS NOT NULL;
SELECT test.index();
SELECT headline FROM atlas_search_events('needle* -haystack') ORDER BY name COLLATE "C";
SELECT headline FROM atlas_search_events('haystack needle') ORDER BY name COLLATE "C";
\pset tuples_only off
\pset format aligned

-- Hostile texts: each is a query, and none takes long.
SELECT count(*), count(pg_temp.found(query)) FROM (VALUES
    (repeat('"', 1000001)), (repeat('-', 1000000)), (repeat('*', 1000000)), (repeat('(', 1000000)), (repeat(':', 1000000)), (repeat('a:', 500000)),
    (repeat('a:"', 300000)), ('a:"' || repeat('""', 500000)), (repeat('-"a', 300000)), (repeat('OR ', 300000)), (repeat('a OR ', 200000)),
    (repeat('-a OR ', 150000)), (repeat('a1', 500000)), (repeat('返', 300000)), (repeat('e' || U&'\0301', 300000)), (repeat(U&'\FDFA', 300000)),
    (repeat(U&'\200B', 300000)), (U&'\FFFD\FFFF'), (E'\x01 \x7f a\tb\nc'), ('a:' || repeat('x', 1000000)), (repeat('x', 1000000) || ':a'),
    ('type:' || repeat('x', 1000000)), ('name:' || repeat('x', 1000000)), ('amount:1e131071'), ('amount:1e-131071'), ('amount:1e999999999'),
    ('amount:' || repeat('9', 200000)), ('amount:NaN'), ('amount:Infinity'), ('amount:0x1F'), ('payload.:x'), ('payload..:x'), ('type:""'), ('name:""'),
    ('type:''; DROP TABLE atlas_events; --')) v (query);
