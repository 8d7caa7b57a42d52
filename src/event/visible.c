/*
 * visible.c
 *		May people see this as the name, or as the icon, of an event?
 *
 * A name has something visible, and nothing that changes the text around it: no control
 * character, no line or paragraph separator, no control of the direction of writing.
 * Other invisible characters are allowed within a name, because words and emoji are
 * spelled with them: U+200C in Persian, U+200D in Sinhala and in families of emoji,
 * U+200B in Khmer, variation selectors, the tags of flags.
 *
 * An icon is a URL, or one grapheme cluster that begins with something visible. The
 * newest emoji are missing from the tables of utf8proc. Unicode has reserved code points
 * for pictographs, so these count as pictographs whether they are assigned or not.
 */
#include "postgres.h"

#include <utf8proc.h>

#include "event/visible.h"

/* An emoji that the tables know, to look up in the place of one that they do not know. */
#define SOME_PICTOGRAPH 0x1F600

/* Reads a character and moves past it. Returns false if there is none. */
static bool
next_character(const char *utf8, Size length, Size *position, utf8proc_int32_t *character)
{
	utf8proc_ssize_t width;

	if (*position >= length)
		return false;
	width = utf8proc_iterate((const utf8proc_uint8_t *) utf8 + *position, length - *position,
							 character);
	if (width <= 0)
		return false;
	*position += width;
	return true;
}

/*
 * Does the character, which the tables say is not assigned, lie in a range that is
 * reserved for pictographs (Extended_Pictographic in Unicode's emoji-data.txt)?
 */
static bool
is_reserved_for_pictographs(utf8proc_int32_t character)
{
	return (character >= 0x1F000 && character <= 0x1FAFF) ||
		(character >= 0x1FC00 && character <= 0x1FFFD);
}

/* Is this one of the code points that no character will ever have? */
static bool
is_noncharacter(utf8proc_int32_t character)
{
	return (character & 0xFFFE) == 0xFFFE || (character >= 0xFDD0 && character <= 0xFDEF);
}

/*
 * Is this a character without a glyph that the tables do not call ignorable? The last
 * three lines are characters that are not assigned, and ignorable by default.
 */
static bool
is_empty_glyph(utf8proc_int32_t character)
{
	return character == 0x2800 ||	/* braille pattern blank */
		character == 0x16FE4 || /* Khitan small script filler */
		character == 0x1D159 || /* musical symbol null notehead */
		character == 0x2065 ||
		(character >= 0xFFF0 && character <= 0xFFF8) ||
		(character >= 0xE0000 && character <= 0xE0FFF);
}

/* Does this character show something, even without another one before it? */
static bool
is_visible(utf8proc_int32_t character)
{
	switch (utf8proc_category(character))
	{
		case UTF8PROC_CATEGORY_ZS:
		case UTF8PROC_CATEGORY_ZL:
		case UTF8PROC_CATEGORY_ZP:
		case UTF8PROC_CATEGORY_CC:
		case UTF8PROC_CATEGORY_CF:
		case UTF8PROC_CATEGORY_CS:
		case UTF8PROC_CATEGORY_MN:
		case UTF8PROC_CATEGORY_ME:
			return false;
		default:
			return !utf8proc_get_property(character)->ignorable && !is_empty_glyph(character);
	}
}

/* Has it Unicode's property Bidi_Control? */
static bool
is_control_of_direction(utf8proc_int32_t character)
{
	return character == 0x061C || character == 0x200E || character == 0x200F ||
		(character >= 0x202A && character <= 0x202E) ||
		(character >= 0x2066 && character <= 0x2069);
}

/* Only characters beyond ASCII are looked up in the tables. */
const char *
atlas_problem_of_name(const char *utf8, Size length, const char **code)
{
	bool		shows = false;
	Size		position = 0;
	utf8proc_int32_t character;

	*code = "invalid";
	while (position < length)
	{
		/* Most characters of most names are of ASCII and visible. */
		if (utf8[position] > ' ' && utf8[position] < 0x7f)
		{
			shows = true;
			position++;
			continue;
		}
		if (utf8[position] == ' ')
		{
			position++;
			continue;
		}
		if (!next_character(utf8, length, &position, &character))
			break;
		if (utf8proc_category(character) == UTF8PROC_CATEGORY_CC ||
			character == 0x2028 || character == 0x2029)
			return "must not have control characters or line breaks";
		if (is_control_of_direction(character))
			return "must not have characters that control the direction of writing";
		shows = shows || (is_visible(character) && !is_noncharacter(character));
	}
	*code = "blank";
	return shows ? NULL : "must have a character that shows";
}

/* Walks through the characters and looks for a break between two of them. */
bool
atlas_is_visible_character(const char *utf8, Size length)
{
	utf8proc_int32_t previous = -1;
	utf8proc_int32_t character;
	utf8proc_int32_t state = 0;
	Size		position = 0;
	int			ncharacters = 0;

	while (next_character(utf8, length, &position, &character))
	{
		if (utf8proc_category(character) == UTF8PROC_CATEGORY_CN &&
			is_reserved_for_pictographs(character))
			character = SOME_PICTOGRAPH;
		if (previous < 0 &&
			(!is_visible(character) ||
			 utf8proc_category(character) == UTF8PROC_CATEGORY_CN))
			return false;
		if (previous >= 0 && utf8proc_grapheme_break_stateful(previous, character, &state))
			return false;
		if (++ncharacters > ATLAS_MAX_CLUSTER_LENGTH)
			return false;
		previous = character;
	}
	return ncharacters > 0 && position == length;
}

/* ----- URLs ----- */

/* Is this an unreserved character, or one of the sub-delims, of RFC 3986? */
static bool
is_url_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		(c != '\0' && strchr("-._~!$&'()*+,;=", c) != NULL);
}

static bool
is_hexadecimal(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Moves past plain characters, escapes, and the others that are allowed at this place. */
static const char *
skip_part(const char *c, const char *end, const char *allowed)
{
	while (c < end)
	{
		if (*c == '%' && end - c >= 3 && is_hexadecimal(c[1]) && is_hexadecimal(c[2]))
			c += 3;
		else if (is_url_character(*c) || (*c != '\0' && strchr(allowed, *c) != NULL))
			c++;
		else
			break;
	}
	return c;
}

/* Moves past [userinfo@]host[:port]. Returns NULL if there is no host. */
static const char *
skip_authority(const char *c, const char *end)
{
	const char *host = c;
	const char *at = skip_part(c, end, ":");

	if (at < end && *at == '@')
		host = at + 1;
	c = host;
	if (c < end && *c == '[')	/* an address of IPv6 */
	{
		c = skip_part(c + 1, end, ":");
		if (c == host + 1 || c == end || *c != ']')
			return NULL;
		c++;
	}
	else
	{
		c = skip_part(c, end, "");
		if (c == host)
			return NULL;
	}
	if (c < end && *c == ':')
		for (c++; c < end && *c >= '0' && *c <= '9';)
			c++;
	return c;
}

bool
atlas_is_url(const char *string, Size length)
{
	const char *end = string + length;
	const char *c;

	if (length > ATLAS_MAX_URL_LENGTH)
		return false;
	if (length > 7 && pg_strncasecmp(string, "http://", 7) == 0)
		c = string + 7;
	else if (length > 8 && pg_strncasecmp(string, "https://", 8) == 0)
		c = string + 8;
	else
		return false;
	c = skip_authority(c, end);
	if (c == NULL || (c < end && strchr("/?#", *c) == NULL))
		return false;
	c = skip_part(c, end, ":@/?");	/* path and query */
	if (c < end && *c == '#')
		c = skip_part(c + 1, end, ":@/?");
	return c == end;
}
