-- What people see of an event: its name and its icon.
CREATE FUNCTION problem_of(field text, value text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(CASE p.code WHEN 'accepted' THEN 'accepted' ELSE concat(p.code, ': ', p.message) END, '; ')
      FROM test.problems(('{"objectType":"CONVERSATION","objectId":"1","name":"x"}'::jsonb || jsonb_build_object(field, value))::text) p
$$;

-- ---------------------------------------------------------------------
-- A name has something that shows
-- ---------------------------------------------------------------------
SELECT what, problem_of('name', name)
  FROM (VALUES
    (1, 'zero width spaces', U&'\200B\200B'),
    (2, 'a joiner', U&'\200D'),
    (3, 'a byte order mark', U&'\FEFF'),
    (4, 'soft hyphens and blanks', U&'\00AD \00AD'),
    (5, 'a no-break space', U&'\00A0'),
    (6, 'an ideographic space', U&'\3000'),
    (7, 'a Hangul filler', U&'\3164'),
    (8, 'a half-width Hangul filler', U&'\FFA0'),
    (9, 'a blank of braille', U&'\2800'),
    (10, 'a variation selector', U&'\FE0F'),
    (11, 'tags', U&'\+0E0067\+0E0062'),
    (12, 'reserved as ignorable', U&'\+0E0FFF'),
    (13, 'a combining mark', U&'\0301'),
    (14, 'a word joiner', U&'\2060'),
    (15, 'a null notehead', U&'\+01D159'),
    (16, 'a letter among them', U&'\200Ba\200B'),
    (17, 'an emoji', U&'\+01F4D6'),
    (18, 'an emoji of the future', U&'\+01FAEB'),
    (19, 'a blank', ' ')) v (n, what, name)
 ORDER BY n;

-- ---------------------------------------------------------------------
-- ... and nothing that changes what stands beside it
-- ---------------------------------------------------------------------
SELECT what, problem_of('name', name)
  FROM (VALUES
    (1, 'a line feed', E'a\nb'),
    (2, 'a tab', E'a\tb'),
    (3, 'escape', E'a\x1b[31mb'),
    (4, 'delete', E'a\x7fb'),
    (5, 'U+0085', U&'a\0085b'),
    (6, 'a line separator', U&'a\2028b'),
    (7, 'a paragraph separator', U&'a\2029b'),
    (8, 'right-to-left override', U&'a\202Eb'),
    (9, 'left-to-right embedding', U&'a\202Ab'),
    (10, 'an isolate', U&'a\2066b\2069'),
    (11, 'a left-to-right mark', U&'a\200Eb'),
    (12, 'a right-to-left mark', U&'a\200Fb'),
    (13, 'an Arabic letter mark', U&'a\061Cb')) v (n, what, name)
 ORDER BY n;

-- What is spelled with invisible characters.
SELECT what, problem_of('name', name)
  FROM (VALUES
    (1, 'Persian, with ZWNJ', U&'\0645\06CC\200C\062E\0648\0627\0647\0645'),
    (2, 'Sinhala, with ZWJ', U&'\0DC1\0DCA\200D\0DBB\0DD3'),
    (3, 'Khmer, with ZWSP', U&'\1797\17B6\179F\17B6\200B\1781\17D2\1798\17C2\179A'),
    (4, 'Hebrew', U&'\05E9\05DC\05D5\05DD'),
    (5, 'Thai', U&'\0E0A\0E33\0E23\0E30\0E40\0E07\0E34\0E19'),
    (6, 'a family', U&'\+01F468\200D\+01F469\200D\+01F467 joined'),
    (7, 'the flag of Scotland', U&'\+01F3F4\+0E0067\+0E0062\+0E0073\+0E0063\+0E0074\+0E007F'),
    (8, 'a red heart', U&'\2764\FE0F'),
    (9, 'decomposed', U&'e\0301te\0301'),
    (10, 'a soft hyphen', U&'Rechnungs\00ADbetrag'),
    (11, 'HTML', '<b>5 < 6 & "x"</b>')) v (n, what, name)
 ORDER BY n;

-- The rules are those of all forms.
SELECT p ->> 'field' AS field, p ->> 'code' AS code
  FROM test.error_of($$SELECT submit_event('CONVERSATION', '1', U&'a\202E', icon => U&'\200B')$$), json_array_elements(detail::json) p;

-- ---------------------------------------------------------------------
-- An icon is a URL of RFC 3986, and not too long
-- ---------------------------------------------------------------------
SELECT what, problem_of('icon', icon)
  FROM (VALUES
    (1, 'a path', 'https://cdn.example/a/b-c_d~e.png'),
    (2, 'a port', 'http://cdn.example:8080/a.png'),
    (3, 'a host alone', 'https://cdn.example'),
    (4, 'a query', 'https://cdn.example/?a=1&b=%C3%A9,(2)!$''*+;:@/?'),
    (5, 'a fragment', 'https://cdn.example/#a/b?c'),
    (6, 'an address of IPv4', 'https://127.0.0.1/a.png'),
    (7, 'an address of IPv6', 'https://[2001:db8::1]:443/a.png'),
    (8, 'a user', 'https://user:secret@cdn.example/a.png'),
    (9, '2,048 characters', 'https://cdn.example/' || repeat('a', 2028)),
    (10, '2,049 characters', 'https://cdn.example/' || repeat('a', 2029)),
    (11, '100 kB', 'https://cdn.example/' || repeat('a', 100000)),
    (12, 'a script', 'http://x/"><script>alert(1)</script>'),
    (13, 'a quote', 'http://x/"'),
    (14, 'angle brackets', 'http://x/<b>'),
    (15, 'a backslash', 'http://x\y/'),
    (16, 'a blank', 'http://x/a b'),
    (17, 'a control character', E'http://x/a\x01'),
    (18, 'a character that is to be escaped', 'http://x/é'),
    (19, 'a host that is to be written in punycode', 'http://bücher.example/'),
    (20, 'half an escape', 'http://x/%4'),
    (21, 'no escape', 'http://x/%zz'),
    (22, 'brackets in the path', 'http://x/[a]'),
    (23, 'two fragments', 'http://x/#a#b'),
    (24, 'no host', 'http://:80/'),
    (25, 'no host but a user', 'http://user@/'),
    (26, 'a port of letters', 'http://x:y/'),
    (27, 'an open bracket', 'http://[::1/'),
    (28, 'nothing in brackets', 'http://[]/'),
    (29, 'two users', 'http://a@b@c/'),
    (30, 'braces', 'http://x/{id}')) v (n, what, icon)
 ORDER BY n;

-- ---------------------------------------------------------------------
-- ... or a character that shows, of at most 32 code points
-- ---------------------------------------------------------------------
SELECT what, problem_of('icon', icon) = 'accepted' AS accepted
  FROM (VALUES
    (1, 'a letter with 31 marks', 'e' || repeat(U&'\0301', 31)),
    (2, 'a letter with 32 marks', 'e' || repeat(U&'\0301', 32)),
    (3, 'a letter with 100,000 marks', 'e' || repeat(U&'\0301', 100000)),
    (4, 'a zero width space', U&'\200B'),
    (5, 'a Hangul filler', U&'\3164'),
    (6, 'a blank of braille', U&'\2800'),
    (7, 'a combining grapheme joiner', U&'\034F'),
    (8, 'a mark', U&'\0301'),
    (9, 'a variation selector', U&'\FE0F'),
    (10, 'a tag', U&'\+0E0041'),
    (11, 'a soft hyphen', U&'\00AD'),
    (12, 'an override', U&'\202E'),
    (13, 'an override behind a letter', U&'a\202E'),
    (14, 'a letter that is not assigned', U&'\0378'),
    (15, 'a noncharacter', U&'\+01FFFE'),
    (16, 'U+1FAE9, of Unicode 16', U&'\+01FAE9'),
    (17, 'U+1FAEA, of Unicode 17', U&'\+01FAEA'),
    (18, 'U+1FAEB, of some later one', U&'\+01FAEB'),
    (19, 'U+1FC00, reserved for pictographs', U&'\+01FC00'),
    (20, 'a new one with a variation selector', U&'\+01FAEA\FE0F'),
    (21, 'a new one and a skin tone', U&'\+01FAEA\+01F3FD'),
    (22, 'an old one joined to a new one', U&'\+01F9D1\200D\+01FAEA'),
    (23, 'a new one joined to an old one', U&'\+01FAEA\200D\+01F9D1\+01F3FD\200D\2764\FE0F\200D\+01FAEB'),
    (24, 'two new ones', U&'\+01FAEA\+01FAEB'),
    (25, 'a new one and a letter', U&'\+01FAEAa'),
    (26, 'dancers with two skin tones', U&'\+01F9D1\+01F3FB\200D\+01FAEF\200D\+01F9D1\+01F3FF'),
    (27, 'the flag of Scotland', U&'\+01F3F4\+0E0067\+0E0062\+0E0073\+0E0063\+0E0074\+0E007F'),
    (28, 'a keycap', U&'#\FE0F\20E3'),
    (29, 'a syllable of Hangul', U&'\1112\1161\11AB'),
    (30, 'a syllable of Hindi', U&'\0928\093F')) v (n, what, icon)
 ORDER BY n;

DROP FUNCTION problem_of;
