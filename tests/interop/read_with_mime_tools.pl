# Reads messages named on standard input with MIME::Parser (Debian: libmime-tools-perl) and prints a JSON line for each:
# the tree as [depth, type, length and SHA-256 of the decoded content (leaves), file name], and the subject.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use Encode ();
use JSON::PP;
use MIME::Parser;

my $json = JSON::PP->new->canonical->ascii;
$| = 1;
while (my $path = <STDIN>) {
    chomp $path;
    my $parser = MIME::Parser->new;
    $parser->output_to_core(1);
    $parser->tmp_to_core(1);
    $parser->decode_headers(0);
    my $top = eval { $parser->parse_open($path) };
    if (!$top) { print $json->encode({ error => "$@" }), "\n"; next; }
    my @parts;
    walk($top, 0, \@parts);
    my $subject = $top->head->get("Subject", 0);
    $subject = defined $subject ? Encode::decode("MIME-Header", $subject) : "";
    print $json->encode({ parts => \@parts, subject => $subject }), "\n";
}

sub walk {
    my ($entity, $depth, $parts) = @_;
    my @children = $entity->parts;
    my $body = $entity->bodyhandle;
    my $octets = $body ? $body->as_string : "";
    $octets =~ s/\r\n/\n/g;
    $octets =~ s/\n+\z//;
    push @$parts, [ $depth, lc $entity->mime_type, @children ? undef : sha256_hex($octets) ];
    walk($_, $depth + 1, $parts) for @children;
}
