/*
 * Resume tokens: "version-checksum-length-hexadecimal", where the last is a
 * packed list, compressed by zlib.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/nvpair.h>
#include <zfs_fletcher.h>
#include <zlib.h>

/* The only version there is (ZFS_SEND_RESUME_TOKEN_VERSION). */
static const unsigned int token_version = 1;
/* Bytes of the list; a real one has a few hundred. */
static const unsigned long long packed_bytes_max = 1 << 20;

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return (c - '0');
	if (c >= 'a' && c <= 'f')
		return (c - 'a' + 10);
	if (c >= 'A' && c <= 'F')
		return (c - 'A' + 10);
	return (-1);
}

/* The list behind `hex`, or NULL. */
static nvlist_t *
unpack(const char *hex, unsigned long long checksum, unsigned long long length)
{
	size_t digits = strlen(hex);
	nvlist_t *list = NULL;
	zio_cksum_t sum;

	if (digits == 0 || digits % 2 != 0 || digits / 2 > packed_bytes_max ||
	    length == 0 || length > packed_bytes_max)
		return (NULL);
	/* Checksums take words of four bytes, and look at whole ones only. */
	unsigned char *compressed = calloc(1, digits / 2 + sizeof (uint32_t));
	char *packed = malloc(length);
	if (compressed == NULL || packed == NULL)
		goto out;
	for (size_t i = 0; i < digits; i++) {
		int value = digit(hex[i]);
		if (value < 0)
			goto out;
		compressed[i / 2] = (compressed[i / 2] << 4) | value;
	}
	fletcher_4_native_varsize(compressed, digits / 2, &sum);
	uLongf unpacked = length;
	if (sum.zc_word[0] != checksum ||
	    uncompress((unsigned char *)packed, &unpacked, compressed,
	    digits / 2) != Z_OK || unpacked != length ||
	    nvlist_unpack(packed, length, &list, KM_SLEEP) != 0)
		list = NULL;
out:
	free(compressed);
	free(packed);
	return (list);
}

int
zs_read_token(const char *text, zs_token_t *token)
{
	unsigned int version;
	unsigned long long checksum, length;
	int hex = 0;
	const char *name;

	if (sscanf(text, "%u-%llx-%llx-%n", &version, &checksum, &length,
	    &hex) != 3 || hex == 0 || version != token_version)
		return (EINVAL);
	nvlist_t *list = unpack(text + hex, checksum, length);
	if (list == NULL)
		return (EINVAL);

	memset(token, 0, sizeof (*token));
	int error = 0;
	if (nvlist_lookup_string(list, "toname", (void *)&name) != 0 ||
	    strlen(name) >= sizeof (token->to_name) ||
	    nvlist_lookup_uint64(list, "toguid", &token->to_guid) != 0 ||
	    nvlist_lookup_uint64(list, "object", &token->object) != 0 ||
	    nvlist_lookup_uint64(list, "offset", &token->offset) != 0 ||
	    nvlist_lookup_uint64(list, "bytes", &token->bytes) != 0)
		error = EINVAL;
	else
		(void) strcpy(token->to_name, name);
	token->incremental = nvlist_exists(list, "fromguid");
	if (token->incremental &&
	    nvlist_lookup_uint64(list, "fromguid", &token->from_guid) != 0)
		error = EINVAL;
	/* Made from partial state itself, or redacted: nobody resumes these. */
	if (nvlist_exists(list, "savedok") ||
	    nvlist_exists(list, "redact_snaps") ||
	    nvlist_exists(list, "book_redact_snaps"))
		error = EINVAL;
	token->embed_data = nvlist_exists(list, "embedok");
	token->large_block = nvlist_exists(list, "largeblockok");
	token->compress = nvlist_exists(list, "compressok");
	token->raw = nvlist_exists(list, "rawok");
	fnvlist_free(list);
	return (error);
}
