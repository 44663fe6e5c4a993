// CMS by Bouncy Castle, for tests: reads one command a line (words parted by tabs, files by name), answers one line.
//
//   sign KEY CERTIFICATE ALGORITHM attached|detached|bare IN OUT
//   verify CMS CONTENT|- CERTIFICATE OUT         answers how many signatures there were; all must hold
//   encrypt CERTIFICATE CIPHER rsa|oaep|AGREEMENT IN OUT
//   decrypt KEY CMS OUT
//   mac CERTIFICATE IN OUT                       AuthenticatedData with HMAC-SHA-256
//   password PASSWORD CIPHER IN OUT              PasswordRecipientInfo with PBKDF2 and HMAC-SHA-256
//   open PASSWORD CMS OUT
//   seal CIPHER IN KEY OUT                       EncryptedData; its key goes into a file
//   compress IN OUT
//   expand CMS OUT
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.interfaces.ECPublicKey;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.List;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.jcajce.JcaCertStore;
import org.bouncycastle.cms.CMSAlgorithm;
import org.bouncycastle.cms.CMSAuthEnvelopedData;
import org.bouncycastle.cms.CMSAuthEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSAuthenticatedDataGenerator;
import org.bouncycastle.cms.CMSCompressedData;
import org.bouncycastle.cms.CMSCompressedDataGenerator;
import org.bouncycastle.cms.CMSEncryptedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedData;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.KeyAgreeRecipientInformation;
import org.bouncycastle.cms.PasswordRecipient;
import org.bouncycastle.cms.Recipient;
import org.bouncycastle.cms.RecipientInfoGenerator;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceCMSMacCalculatorBuilder;
import org.bouncycastle.cms.jcajce.JceKeyAgreeEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JceKeyTransEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JcePasswordEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JcePasswordRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.ZlibCompressor;
import org.bouncycastle.cms.jcajce.ZlibExpanderProvider;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.OutputEncryptor;
import org.bouncycastle.operator.jcajce.JcaAlgorithmParametersConverter;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

public final class BouncyCastle {
    private static final String BC = "BC";

    public static void main(String[] arguments) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String answer;
            try {
                answer = "ok " + obey(line.split("\t"));
            } catch (Exception | AssertionError error) {
                answer = "no " + String.valueOf(error).replace('\n', ' ');
            }
            System.out.println(answer);
        }
    }

    private static String obey(String[] word) throws Exception {
        switch (word[0]) {
            case "sign": return sign(key(word[1]), certificate(word[2]), word[3], word[4], read(word[5]), word[6]);
            case "verify": return verify(read(word[1]), word[2], certificate(word[3]), word[4]);
            case "encrypt": return encrypt(recipient(certificate(word[1]), word[3]), word[2], read(word[4]), word[5]);
            case "decrypt": return decrypt(key(word[1]), read(word[2]), word[3]);
            case "mac": return mac(certificate(word[1]), read(word[2]), word[3]);
            case "password": return encrypt(password(word[1]), word[2], read(word[3]), word[4]);
            case "open": return open(word[1], read(word[2]), word[3]);
            case "seal": return seal(word[1], read(word[2]), word[3], word[4]);
            case "compress": return compress(read(word[1]), word[2]);
            case "expand": return write(word[2], new CMSCompressedData(read(word[1])).getContent(new ZlibExpanderProvider()));
            default: throw new IllegalArgumentException(word[0]);
        }
    }

    private static byte[] read(String file) throws Exception {
        return Files.readAllBytes(Path.of(file));
    }

    private static String write(String file, byte[] octets) throws Exception {
        Files.write(Path.of(file), octets);
        return Integer.toString(octets.length);
    }

    private static PrivateKey key(String file) throws Exception {
        byte[] octets = read(file);
        String algorithm = PrivateKeyInfo.getInstance(octets).getPrivateKeyAlgorithm().getAlgorithm().getId();
        return KeyFactory.getInstance(algorithm, BC).generatePrivate(new PKCS8EncodedKeySpec(octets));
    }

    private static X509Certificate certificate(String file) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509", BC)
            .generateCertificate(new ByteArrayInputStream(read(file)));
    }

    private static String sign(PrivateKey key, X509Certificate own, String algorithm, String form, byte[] content, String out)
        throws Exception {
        var builder = new JcaSignerInfoGeneratorBuilder(new JcaDigestCalculatorProviderBuilder().setProvider(BC).build());
        builder.setDirectSignature(form.equals("bare"));
        CMSSignedDataGenerator generator = new CMSSignedDataGenerator();
        var signer = new JcaContentSignerBuilder(algorithm).setProvider(BC).build(key);
        generator.addSignerInfoGenerator(builder.build(signer, own));
        generator.addCertificates(new JcaCertStore(List.of(own)));
        boolean attached = !form.equals("detached");
        return write(out, generator.generate(new CMSProcessableByteArray(content), attached).getEncoded());
    }

    private static String verify(byte[] cms, String content, X509Certificate own, String out) throws Exception {
        CMSSignedData signed = content.equals("-")
            ? new CMSSignedData(cms) : new CMSSignedData(new CMSProcessableByteArray(read(content)), cms);
        int count = 0;
        for (SignerInformation signer : signed.getSignerInfos().getSigners()) {
            if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider(BC).build(own))) {
                throw new AssertionError("the signature does not hold");
            }
            count++;
        }
        write(out, (byte[]) signed.getSignedContent().getContent());
        return Integer.toString(count);
    }

    private static RecipientInfoGenerator recipient(X509Certificate to, String how) throws Exception {
        if (how.equals("rsa")) {
            return new JceKeyTransRecipientInfoGenerator(to).setProvider(BC);
        }
        if (how.equals("oaep")) {
            var parameters = new OAEPParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, PSource.PSpecified.DEFAULT);
            AlgorithmIdentifier identifier =
                new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP, parameters);
            return new JceKeyTransRecipientInfoGenerator(to, identifier).setProvider(BC);
        }
        KeyPair ephemeral = ephemeral(to.getPublicKey());
        return new JceKeyAgreeRecipientInfoGenerator(
            new ASN1ObjectIdentifier(how), ephemeral.getPrivate(), ephemeral.getPublic(), CMSAlgorithm.AES256_WRAP)
            .addRecipient(to).setProvider(BC);
    }

    private static KeyPair ephemeral(PublicKey like) throws Exception {
        KeyPairGenerator generator;
        if (like instanceof ECPublicKey) {
            generator = KeyPairGenerator.getInstance("EC", BC);
            generator.initialize(((ECPublicKey) like).getParams());
        } else {
            generator = KeyPairGenerator.getInstance(like.getAlgorithm(), BC);
        }
        return generator.generateKeyPair();
    }

    private static RecipientInfoGenerator password(String password) {
        return new JcePasswordRecipientInfoGenerator(CMSAlgorithm.AES256_CBC, password.toCharArray())
            .setProvider(BC).setPRF(PasswordRecipient.PRF.HMacSHA256).setSaltAndIterationCount(new byte[16], 1000);
    }

    private static String encrypt(RecipientInfoGenerator to, String cipher, byte[] content, String out) throws Exception {
        OutputEncryptor encryptor =
            new JceCMSContentEncryptorBuilder(new ASN1ObjectIdentifier(cipher)).setProvider(BC).build();
        var processable = new CMSProcessableByteArray(content);
        if (encryptor instanceof OutputAEADEncryptor) {
            CMSAuthEnvelopedDataGenerator generator = new CMSAuthEnvelopedDataGenerator();
            generator.addRecipientInfoGenerator(to);
            return write(out, generator.generate(processable, (OutputAEADEncryptor) encryptor).getEncoded());
        }
        CMSEnvelopedDataGenerator generator = new CMSEnvelopedDataGenerator();
        generator.addRecipientInfoGenerator(to);
        return write(out, generator.generate(processable, encryptor).getEncoded());
    }

    private static RecipientInformation recipientOf(byte[] cms) throws Exception {
        boolean authenticated =
            ContentInfo.getInstance(cms).getContentType().equals(CMSObjectIdentifiers.authEnvelopedData);
        return authenticated
            ? new CMSAuthEnvelopedData(cms).getRecipientInfos().iterator().next()
            : new CMSEnvelopedData(cms).getRecipientInfos().iterator().next();
    }

    private static String open(String password, byte[] cms, String out) throws Exception {
        var own = new JcePasswordEnvelopedRecipient(password.toCharArray()).setProvider(BC);
        return write(out, recipientOf(cms).getContent(own));
    }

    private static String decrypt(PrivateKey key, byte[] cms, String out) throws Exception {
        RecipientInformation to = recipientOf(cms);
        Recipient own = to instanceof KeyAgreeRecipientInformation
            ? new JceKeyAgreeEnvelopedRecipient(key).setProvider(BC) : new JceKeyTransEnvelopedRecipient(key).setProvider(BC);
        return write(out, to.getContent(own));
    }

    private static String mac(X509Certificate to, byte[] content, String out) throws Exception {
        CMSAuthenticatedDataGenerator generator = new CMSAuthenticatedDataGenerator();
        generator.addRecipientInfoGenerator(new JceKeyTransRecipientInfoGenerator(to).setProvider(BC));
        var calculator = new JceCMSMacCalculatorBuilder(PKCSObjectIdentifiers.id_hmacWithSHA256).setProvider(BC).build();
        return write(out, generator.generate(new CMSProcessableByteArray(content), calculator).getEncoded());
    }

    private static String seal(String cipher, byte[] content, String key, String out) throws Exception {
        OutputEncryptor encryptor =
            new JceCMSContentEncryptorBuilder(new ASN1ObjectIdentifier(cipher)).setProvider(BC).build();
        write(key, (byte[]) encryptor.getKey().getRepresentation());
        var sealed = new CMSEncryptedDataGenerator().generate(new CMSProcessableByteArray(content), encryptor);
        return write(out, sealed.toASN1Structure().getEncoded());
    }

    private static String compress(byte[] content, String out) throws Exception {
        return write(out, new CMSCompressedDataGenerator().generate(new CMSProcessableByteArray(content), new ZlibCompressor())
            .getEncoded());
    }
}
