-- Documents: by which words, and by which values, an event is found.
SET client_min_messages = warning;
SELECT test.clean();
CREATE SCHEMA lab;

-- Submits an event and makes its document.
CREATE FUNCTION lab.document_of(name text, description text DEFAULT NULL, payload jsonb DEFAULT NULL, tenant text DEFAULT '')
    RETURNS tsvector LANGUAGE plpgsql AS $$
DECLARE
    id uuid;
    result tsvector;
BEGIN
    PERFORM set_config('atlas_events.tenant', tenant, true);
    id := submit_event('COMPANY', 'acme', name, description, payload => payload);
    PERFORM test.index();
    SELECT s.document INTO STRICT result FROM atlas_event_search s
     WHERE s.event_id = id AND s.tenant_id = tenant AND s.problem IS NULL;
    RETURN result;
END $$;

-- The same as text: what stands between a key and its value is written as a bar.
CREATE FUNCTION lab.shown(document tsvector) RETURNS text LANGUAGE sql
    RETURN translate(document::text, E'\t', '|');

-- Is the word in the document, or the words one after the other?
CREATE FUNCTION lab.has(document tsvector, VARIADIC words text[]) RETURNS boolean LANGUAGE sql
    RETURN document @@ (SELECT string_agg(quote_literal(w), ' <-> ' ORDER BY n) FROM unnest(words) WITH ORDINALITY u (w, n))::tsquery;

-- ---------------------------------------------------------------------
-- The whole document of an event
-- ---------------------------------------------------------------------
SELECT lab.shown(lab.document_of('Checkout failed: ORD-4711', '<p>Order of <b>&eacute;clairs</b></p>',
    '{"amount": 50.0, "paid": true, "coupon": null, "macro": {"id": 311, "title": "Refund approved"},
      "products": [{"name": "Рушник", "price": 420.50}, {"name": "B"}], "tags": ["x", "y", ["z"]]}'));
SELECT lab.shown(lab.document_of('n'));
SELECT lab.shown(lab.document_of('n', '', '{}', 'acme'));

-- ---------------------------------------------------------------------
-- Words
-- ---------------------------------------------------------------------
-- Versions of psql do not agree on how wide some characters are.
\pset format unaligned
SELECT text, word, lab.has(lab.document_of('n', text), word) AS found FROM (VALUES
    ('ORD-4711', '4711'), ('ORD/4711', '4711'), ('#4711', '4711'), ('ORD4711', '4711'), ('ORD4711', 'ord4711'), ('ord4711', 'ord'),
    ('priya.whitfield@example.com', 'priya'), ('https://shop.example/refund/42?x=1', 'refund'), ('checkout.failed', 'failed'),
    ('CAFÉ', 'cafe'), (U&'cafe\0301', 'cafe'), ('Straße', 'strasse'), ('İSTANBUL', 'istanbul'), ('ΟΔΟΣ', 'οδοσ'), ('Київ', 'киів'),
    ('ＡＢＣ１２', 'abc12'), ('x²', 'x2'), ('ﬁnal', 'final'), (U&'soft\00ADhyphen', 'softhyphen'), ('أحمد', 'احمد'), ('שָׁלוֹם', 'שלום'),
    ('हिन्दी', 'हिन्दी'), ('환불 완료', '환불'), (U&'\1112\1161\11AB', '한'), ('ㅎㅏ', '하')) v (text, word);
\pset format aligned
-- Vowel signs are letters of the scripts that have them, and marks of Kana make another letter.
SELECT lab.has(lab.document_of('कि'), 'का') AS vowels, lab.has(lab.document_of('パン'), 'ハン') AS kana;
-- Words one after the other are a phrase, within a field only.
SELECT lab.has(d, 'one', 'two') AS phrase, lab.has(d, 'two', 'one') AS reversed, lab.has(d, 'two', 'three') AS over_fields,
       lab.has(d, 'four', 'five') AS over_values, d @@ 'one:A & three:B & four:C' AS weights, d @@ 'one:BCD' AS other_weight
  FROM lab.document_of('one two', 'three', '{"a": "four", "b": "five"}') d;
-- A word together stands where its first part does.
SELECT lab.has(d, 'room', 'x', '12', 'y', 'left') AS parts, lab.has(d, 'room', 'x12y') AS together FROM lab.document_of('Room X12Y left') d;
-- Scripts without blanks: pairs, and the last character.
SELECT text, pairs, lab.has(lab.document_of(text), VARIADIC pairs) AS found FROM (VALUES
    ('返金されました', '{返金}'::text[]), ('返金されました', '{金さ,され}'), ('返金されました', '{た}'), ('返金されました', '{返され}'),
    ('ﾍﾟｰｼﾞ', '{ペー,ージ}'), (U&'\304B\3099', '{が}'), ('สวัสดี', '{สว,วั}'), ('iPhone16を買う', '{iphone16}'), ('iPhone16を買う', '{を買,買う}')) v (text, pairs);

-- ---------------------------------------------------------------------
-- Exact values
-- ---------------------------------------------------------------------
-- Numbers are the same however they are written, and so are strings that are written like a number of JSON.
SELECT value, lab.has(lab.document_of('n', payload => jsonb_build_object('a', value)), E'=a\t50') AS is_50 FROM (VALUES
    ('50'::jsonb), ('50.0'), ('5e1'), ('500e-1'), ('"50"'), ('"50.00"'), ('"5E+1"'), ('"５０"'), ('50.01'), ('"050"'), ('"+50"'), ('"50."'), ('"5e"'), ('-50')) v (value);
SELECT left(value::text, 30) AS value, (SELECT translate(lexeme, E'\t', '|') FROM unnest(lab.document_of('n', payload => jsonb_build_object('a', value))) WHERE lexeme LIKE '=%')
  FROM (VALUES ('0'::jsonb), ('-0.0'), ('1e131071'), ('-1e-16000'), ('"1e131071"'), ('"-0e99999999999"'), ('"1e99999999999"'), ('123456789012345678901234567890.10'), ('0.00001'),
    ('"  Two   Words "'), ('""'), ('true'), ('"TRUE"'), ('null')) v (value);
-- What is long is cut, and has a hash of all of it.
SELECT lexeme, length(lexeme) FROM unnest(lab.document_of(repeat('é', 60) || 'a', payload => jsonb_build_object('k', repeat('9', 200), 'l', repeat('返', 100)))) WHERE lexeme ~ '~';
-- No payload and no name can pretend to be of another name, type or tenant.
SELECT lexeme FROM unnest(lab.document_of('!other #CUSTOMER @Refund =amount 50', '!other #CUSTOMER @refund',
    '{"type": "CUSTOMER", "name": "Refund", "tenant": "other", "@refund": "#CUSTOMER", "": "!other", "a\tb": "c\td"}', 'mine')) WHERE lexeme ~ '^[!#@]';

-- ---------------------------------------------------------------------
-- Descriptions that are HTML, or are not
-- ---------------------------------------------------------------------
SELECT text, (SELECT array_agg(lexeme ORDER BY positions[1]) FROM unnest(lab.document_of('n', text)) WHERE 'B' = ANY (weights)) FROM (VALUES
    ('<a title="a>b" href=''x>''>link</a>'), ('a < b and c > d'), ('<!-- no --> yes'), ('<script>var no = "<b>";</script>yes<style>no {}</style >'),
    ('&lt;b&gt; &#233; &#xE9; &nosuch; AT&T; ?a=1&copy=2'), ('open <a "'), ('open <!-- comment'), ('open <script> script'), ('one<br/>two'), ('&')) v (text);

-- ---------------------------------------------------------------------
-- Nothing is too much, and nothing raises an error
-- ---------------------------------------------------------------------
SELECT lab.shown(lab.document_of('n', payload => (repeat('{"a":', 200) || '"deep"' || repeat('}', 200))::jsonb)) LIKE '%''=a|deep''%''deep''%' AS deep_objects;
SELECT lab.has(lab.document_of('n', payload => jsonb_build_object('k', (repeat('[', 200) || '"deep"' || repeat(']', 200))::jsonb)), E'=k\tdeep') AS deep_arrays;
SELECT count(*) FILTER (WHERE lexeme ~ '^=') AS values, count(*) FILTER (WHERE lexeme ~ '^v') AS words
  FROM unnest(lab.document_of('n', payload => (SELECT jsonb_object_agg('k' || i, 'v' || i) FROM generate_series(1, 1000) i)));
SELECT length(d), lab.has(d, repeat('a', 255)) FROM lab.document_of('n', repeat('a', 16000)) d;
SELECT max(octet_length(lexeme)) FROM unnest(lab.document_of('n', repeat('é1', 8000))) WHERE lexeme !~ '^[@=]';
-- A megabyte: the name, the type and the tenant are there, whatever is cut.
SET atlas_events.max_event_size = '4MB';
SELECT what, length(d) AS lexemes, d @@ '''@name'' & ''#COMPANY'' & ''!mine''' AS has_exact, d::text::tsvector = d AS is_sound, pg_column_size(d) < 100000 AS is_small
  FROM (VALUES ('words', (SELECT string_agg('w' || i, ' ') FROM generate_series(1, 130000) i)), ('one word', repeat('x', 1000000)), ('Han', repeat('返金', 160000)),
    ('marks', repeat(U&'\0301', 500000) || ' a'), ('tags', repeat('<b>', 300000) || 'a'), ('quotes', repeat('<a ">" ', 140000)), ('entities', repeat('&#x41;', 160000))) v (what, text),
       lab.document_of('name', text, tenant => 'mine') d;
SET atlas_events.search_text_limit = '1MB';
SELECT what, length(d) AS lexemes, d @@ E'''@name'' & ''#COMPANY'' & ''!mine'' & ''=k\tv''' AS has_exact, d::text::tsvector = d AS is_sound
  FROM (VALUES ('words', (SELECT string_agg('w' || i, ' ') FROM generate_series(1, 130000) i)), ('the same word', repeat('x ', 500000)), ('Han', repeat('返金', 160000))) v (what, text),
       lab.document_of('name', text, '{"k": "v"}', 'mine') d;
SET atlas_events.search_text_limit = 8;
SELECT lab.shown(lab.document_of('12345 ééé', 'text', '{"k": "v"}'));
SET atlas_events.search_text_limit = 0;
SELECT lab.shown(lab.document_of('12345', 'text', '{"k": "v"}'));
RESET atlas_events.search_text_limit;
-- Strings that break what is written carelessly.
SELECT count(*) AS documents, bool_and(d @@ '''!mine''' AND d::text::tsvector = d) AS are_sound FROM
    unnest(ARRAY[U&'\0001\0002', U&'\FFFE', U&'\+10FFFF', U&'\200B\200D\FEFF', U&'\0301', U&'\3099', U&'\1161\11A8', U&'\202Eevil', U&'\FDFA', U&'a\0315\0300\05AE\0062',
    '''', '''''', '\', '\\', ':*', '&|!()<->', '$$', '%s%n', '"', '<', '&#0;', '&#xD800;', E'\t', E'\r\n', '😀👨‍👩‍👧', repeat('(', 1000), repeat('é', 1000), repeat(U&'a\0301', 1000)]) text,
    lab.document_of('hostile', text, jsonb_build_object('k' || text, text, text, jsonb_build_array(text)), 'mine') d;

SELECT test.clean();
DROP SCHEMA lab CASCADE;
